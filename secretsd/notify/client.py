"""The daemon's side of the notify helper's socket: asks, and turns whatever goes wrong into a report."""

from __future__ import annotations

import asyncio

from secretsd.errors import UsageError
from secretsd.model import UnitReport
from secretsd.notify.protocol import (
    ANSWER_TIMEOUT_S,
    BEFORE_GRACE_S,
    LOOK_TIMEOUT_S,
    MAX_REPLY_BYTES,
    ActRequest,
    BeforeRequest,
    ConfirmRequest,
    LookRequest,
    Request,
    decode_reply,
    encode_request,
)

_SOCKET_UNIT = "secretsd-notify.socket"
_SERVICE_UNIT = "secretsd-notify.service"


async def act(
    socket_path: str,
    *,
    bundle: str,
    unit: str,
    generation: int,
    published_monotonic: float,
    timeout_s: float = ANSWER_TIMEOUT_S,
) -> UnitReport:
    """Sees that `unit` runs on `generation` of `bundle`.

    `published_monotonic` is when that was published, in seconds of CLOCK_MONOTONIC. Never raises but for
    cancellation, and ends within `timeout_s`: whatever keeps the helper from answering is a report with the
    outcome "failed". Giving up does not stop a job that systemd has begun; asking again does no harm, since
    a unit that has been restarted since is "current".
    """
    return await _asked(socket_path, ActRequest(bundle, unit, generation, published_monotonic), timeout_s)


async def look(
    socket_path: str,
    *,
    bundle: str,
    unit: str,
    generation: int,
    published_monotonic: float,
    timeout_s: float = 2 * LOOK_TIMEOUT_S,
) -> UnitReport:
    """What `act` with the same arguments would find, with nothing done.

    The outcome "due" stands for what `act` would act on. Like `act` it never raises and ends in `timeout_s`.
    """
    return await _asked(socket_path, LookRequest(bundle, unit, generation, published_monotonic), timeout_s)


async def before(
    socket_path: str, *, bundle: str, unit: str, generation: int, before_timeout_s: float
) -> UnitReport:
    """Whether the unit's `before` lets it be touched: "willing" or "unwilling".

    `before_timeout_s` is what the program has in the configuration. Like `act` it never raises; it ends
    within that time and BEFORE_GRACE_S.
    """
    request = BeforeRequest(bundle, unit, generation)
    return await _asked(socket_path, request, before_timeout_s + BEFORE_GRACE_S)


async def confirm(
    socket_path: str,
    *,
    bundle: str,
    unit: str,
    invocation: str,
    acted_monotonic: float | None = None,
    timeout_s: float = 2 * LOOK_TIMEOUT_S,
) -> UnitReport:
    """Whether `unit` is still active in `invocation`, the one of the report that said "acted".

    `acted_monotonic`, when that report came (seconds of CLOCK_MONOTONIC), lets a "failed" say how long the
    unit lived on. Like `act` it never raises and ends within `timeout_s`.
    """
    return await _asked(socket_path, ConfirmRequest(bundle, unit, invocation, acted_monotonic), timeout_s)


async def _asked(socket_path: str, request: Request, timeout_s: float) -> UnitReport:
    try:
        line = encode_request(request)
    except UsageError as error:
        return _failed(f"{request.unit!r} cannot be asked for: {error}", "this is a bug in secretsd")
    try:
        async with asyncio.timeout(timeout_s):
            reply = await _exchanged(socket_path, line)
    except TimeoutError:
        return _failed(
            f"the notify helper did not answer within {timeout_s:g} s",
            f"see what it waits for: systemctl list-jobs, journalctl -u {_SERVICE_UNIT}",
        )
    except OSError as error:
        return _unreachable(socket_path, error)
    return _read(reply)


async def _exchanged(socket_path: str, line: bytes) -> bytes:
    """The helper's answer to `line`; empty when it ended without one."""
    reader, writer = await asyncio.open_unix_connection(socket_path, limit=MAX_REPLY_BYTES)
    try:
        writer.write(line)
        await writer.drain()
        return await reader.readline()
    except (ConnectionError, ValueError):  # killed with the request unread; a line longer than the limit
        return b""
    finally:
        # No wait_closed: there is nothing left to send, and it could outlast the timeout.
        writer.close()


def _read(reply: bytes) -> UnitReport:
    if not reply.endswith(b"\n"):
        return _failed(
            "the notify helper ended without an answer",
            f"see why: journalctl -u {_SERVICE_UNIT} -n 50",
        )
    try:
        return decode_reply(reply)
    except UsageError as error:
        return _failed(
            f"the notify helper's answer makes no sense: {error}",
            f"another program or version may be listening: systemctl restart {_SOCKET_UNIT} {_SERVICE_UNIT}",
        )


def _unreachable(socket_path: str, error: OSError) -> UnitReport:
    match error:
        case FileNotFoundError():
            reason = f"the notify helper's socket {socket_path} is missing"
        case ConnectionRefusedError():
            reason = f"nobody listens on the notify helper's socket {socket_path}"
        case PermissionError():
            return _failed(
                f"the notify helper's socket {socket_path} is closed to this user",
                f"it is for the user of secretsd.service: compare systemctl cat {_SOCKET_UNIT}",
            )
        case _:
            reason = f"the notify helper's socket {socket_path} cannot be used: {error.strerror}"
    return _failed(reason, f"systemctl start {_SOCKET_UNIT}")


def _failed(message: str, advice: str) -> UnitReport:
    return UnitReport("failed", message, advice)
