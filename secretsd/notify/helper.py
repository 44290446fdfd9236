"""The root program behind /run/secretsd-notify.sock: it lets the daemon act on the units that root named.

Started by systemd for a connection, it answers, and ends when it has been idle. It takes from a request only
which bundle and unit are meant; what may be done to the unit comes from root's configuration, read anew each
time. It imports little, since it is started for most rotations (docs/benchmarks.md has the figure).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from secretsd.config.files import read_usable
from secretsd.errors import ConfigError, ExitCode, RefusedError, SecretsdError, UsageError
from secretsd.model import UnitReport
from secretsd.notify import asking, deliver, protocol, sockets
from secretsd.notify.configured import configured_action, configured_before, names_bundle
from secretsd.notify.units import SYSTEMCTL, SYSTEMD_RUN, Systemd

if TYPE_CHECKING:
    import socket

CONFIG = "/etc/secretsd/secretsd.toml"
PEER_USER = "secretsd"
IDLE_S = 10.0
RETIRE_S = 300.0  # half of its unit's RuntimeMaxSec=, which would cut off whoever is just being answered
MAX_CONNECTIONS = 32  # the next ones wait in the socket's queue

_INFO, _WARNING, _ERROR = 6, 4, 3
_VERBS = {
    protocol.ActRequest: "act on",
    protocol.LookRequest: "look at",
    protocol.BeforeRequest: "ask before",
    protocol.ConfirmRequest: "confirm",
}
_USAGE = (
    "usage: secretsd-notify [--config FILE] [--socket PATH] [--peer-user NAME|UID] [--trusted-uid UID]\n"
    "                       [--systemctl PATH] [--systemd-run PATH] [--idle SECONDS]"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The command line. Without `socket` the listening socket is systemd's."""

    config: Path = Path(CONFIG)
    socket: str = ""
    peer_user: str = PEER_USER
    trusted_uid: int = 0
    systemctl: str = SYSTEMCTL
    systemd_run: str = SYSTEMD_RUN
    idle_s: float = IDLE_S


def main(arguments: list[str]) -> int:
    """Serves until idle; an exit code of sysexits(3)."""
    try:
        settings = parse(arguments)
        allowed_uids = frozenset({0, peer_uid(settings.peer_user)})
        listener = sockets.bound(settings.socket) if settings.socket else sockets.inherited()
    except SecretsdError as error:
        log(_ERROR, f"{error}{'; ' if error.advice else ''}{error.advice}")
        return error.exit_code
    try:
        serve(listener, settings, allowed_uids=allowed_uids)
    finally:
        if settings.socket:
            sockets.unlink(settings.socket)
    return ExitCode.OK


# By hand: argparse alone would take a third of the start.
def parse(arguments: list[str]) -> Settings:
    """The settings that `--name value` pairs make.

    Raises: UsageError.
    """
    pairs = dict(zip(arguments[::2], arguments[1::2], strict=False))
    known = {"--config", "--socket", "--peer-user", "--trusted-uid", "--systemctl", "--systemd-run", "--idle"}
    if len(arguments) % 2 or not pairs.keys() <= known:
        raise UsageError(_USAGE)
    try:
        return Settings(
            config=Path(pairs.get("--config", CONFIG)),
            socket=pairs.get("--socket", ""),
            peer_user=pairs.get("--peer-user", PEER_USER),
            trusted_uid=int(pairs.get("--trusted-uid", "0")),
            systemctl=pairs.get("--systemctl", SYSTEMCTL),
            systemd_run=pairs.get("--systemd-run", SYSTEMD_RUN),
            idle_s=float(pairs.get("--idle", IDLE_S)),
        )
    except ValueError:
        raise UsageError(_USAGE) from None


def peer_uid(user: str) -> int:
    """The uid that may use the socket beside root; `user` is a name or a number.

    Raises: ConfigError when there is no such user.
    """
    try:
        return int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except KeyError:
        problem = f"there is no user {user}: the package's sysusers.d file makes it (systemd-sysusers)"
        raise ConfigError([problem]) from None


def serve(listener: socket.socket, settings: Settings, *, allowed_uids: frozenset[int]) -> None:
    """Answers each connection in a thread of its own, and returns after `idle_s` seconds without any.

    One whose socket is systemd's also returns when it is older than RETIRE_S and nobody waits for an answer.
    """
    listener.settimeout(0)
    retires_at = time.monotonic() + RETIRE_S
    slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    while True:
        if not poller.poll(settings.idle_s * 1000):
            if threading.active_count() == 1:
                return
            continue
        if not settings.socket and time.monotonic() > retires_at and threading.active_count() == 1:
            return  # systemd has the socket and starts the next one for who has just connected
        try:
            connection, _ = listener.accept()
        except OSError as error:
            # EMFILE and the like would come back at once, forever. A peer that has gone is no error.
            if not isinstance(error, BlockingIOError | ConnectionAbortedError):
                log(_ERROR, f"no connection can be accepted: {error.strerror}")
                time.sleep(0.1)
            continue
        admit(connection, settings, slots, allowed_uids=allowed_uids)


def admit(
    connection: socket.socket,
    settings: Settings,
    slots: threading.BoundedSemaphore,
    *,
    allowed_uids: frozenset[int],
) -> None:
    """Starts the answer to a peer that may ask, waiting for a free slot; refuses another at once."""
    connection.settimeout(protocol.READ_TIMEOUT_S)
    peer = sockets.peer_of(connection)
    if peer.uid not in allowed_uids:
        # Before a slot is taken: whoever may not ask can keep nobody waiting.
        log(_WARNING, f"refused: peer pid {peer.pid} has uid {peer.uid}")
        refusal = UnitReport("failed", "this socket is for secretsd only", "run secretsctl instead")
        finish(connection, protocol.encode_reply(refusal, code="refused"))
        return
    slots.acquire()

    def run() -> None:
        try:
            finish(connection, answer(connection, peer, settings))
        finally:
            slots.release()

    try:
        # Not waited for at the end: SIGTERM ends the jobs' clients, and the daemon asks again.
        threading.Thread(target=run, daemon=True).start()
    except RuntimeError:  # TasksMax=, most likely
        slots.release()
        busy = UnitReport("failed", "the notify helper cannot start a thread", "raise TasksMax= of its unit")
        finish(connection, protocol.encode_reply(busy, code="busy"))


def finish(connection: socket.socket, reply: bytes) -> None:
    """Sends what the peer still takes, and closes."""
    # A peer that has gone or does not read will ask again.
    with connection, contextlib.suppress(OSError):
        connection.sendall(reply)


def answer(connection: socket.socket, peer: sockets.Peer, settings: Settings) -> bytes:
    """The reply to the one request on `connection`; never raises."""
    try:
        request = protocol.decode_request(sockets.read_line(connection))
    except (UsageError, OSError) as error:
        reason = str(error) if isinstance(error, UsageError) else f"no request came: {error.strerror}"
        log(_WARNING, f"malformed request from peer pid {peer.pid}: {reason}")
        malformed = UnitReport("failed", reason, "this is a bug in the caller")
        return protocol.encode_reply(malformed, code="usage")
    began = time.monotonic()
    verb, report, code = carry_out(request, settings)
    spent_ms = (time.monotonic() - began) * 1000
    if isinstance(request, protocol.LookRequest) and report.outcome != "failed":
        return protocol.encode_reply(report)  # comes every minute for a unit that waits for its window
    priority = _WARNING if report.outcome == "failed" else _INFO
    what = f"{request.bundle}: {verb} {request.unit}{generation_of(request)}: {report.outcome}"
    log(priority, f"{what} ({report.message}; peer pid {peer.pid}, {spent_ms:.0f} ms)")
    return protocol.encode_reply(report, code=code)


def generation_of(request: protocol.Request) -> str:
    """What the log says of the generation; a confirmation is about an invocation."""
    if isinstance(request, protocol.ConfirmRequest):
        return ""
    return f" for generation {request.generation}"


def carry_out(request: protocol.Request, settings: Settings) -> tuple[str, UnitReport, str]:
    """Does what was asked if root's configuration has it: the verb, the report, a refusal's code."""
    verb = _VERBS[type(request)]
    try:
        tables = usable_tables(request, settings)
        action = configured_action(tables, bundle=request.bundle, unit=request.unit)
        systemd = Systemd(settings.systemctl, settings.systemd_run)
        match request:
            case protocol.ConfirmRequest():
                return verb, deliver.confirm(request, action, systemd), ""
            case protocol.LookRequest():
                return verb, deliver.look(request, systemd), ""
            case protocol.BeforeRequest():
                before = configured_before(tables, bundle=request.bundle, unit=request.unit)
                daemon_uid = peer_uid(settings.peer_user)
                return verb, asking.ask(request, before, systemd, daemon_uid=daemon_uid), ""
            case protocol.ActRequest():
                return action.name, deliver.act(request, action, systemd), ""
            case _:
                assert_never(request)
    except ConfigError as error:
        message = (
            f"no file that can be used names bundle {request.bundle}; left out: {'; '.join(error.problems)}"
        )
        advice = "correct them (secretsctl check-config); only root may be able to write them"
        return verb, UnitReport("failed", message, advice), error.code
    except RefusedError as error:
        return verb, UnitReport("failed", str(error), error.advice), error.code
    except Exception as error:  # noqa: BLE001 - the peer must get an answer, and the other threads must go on.
        message = f"the notify helper failed: {type(error).__name__}"
        return verb, UnitReport("failed", message, "this is a bug in secretsd: please report it"), "bug"


def usable_tables(request: protocol.Request, settings: Settings) -> object:
    """What stands in the files that can be used and trusted; a warning in the log for each other.

    Raises: ConfigError where the request's bundle may stand in a file that was left out.
    """
    tables, problems = read_usable(settings.config, trusted_owner=settings.trusted_uid)
    for problem in problems:
        log(_WARNING, f"left out: {problem}")
    if problems and not names_bundle(tables, request.bundle):
        raise ConfigError(problems)
    return tables


def log(priority: int, text: str) -> None:
    """One line to stderr in sd-daemon(3)'s form; dropped if nobody reads, since a log must not stop a job."""
    line = f"<{priority}>{protocol.one_line(text, max_chars=1000)}\n".encode()
    poller = select.poll()
    poller.register(2, select.POLLOUT)
    if poller.poll(0):
        # There is no other place to say that this one is gone.
        with contextlib.suppress(OSError):
            os.write(2, line)
