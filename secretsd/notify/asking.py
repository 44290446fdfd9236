"""Asking whether a unit may be touched: the program that root names for it, run as the bundle's owner.

It is not a child of the helper, whose sandbox has no network: systemd runs it as a transient service of its
own, with nothing of the helper's but the command. What it writes is in the journal under that service's name.
"""

from __future__ import annotations

import pwd

from secretsd.model import UnitReport
from secretsd.notify.configured import Before, NotConfiguredError
from secretsd.notify.protocol import BEFORE_GRACE_S, STOP_TIMEOUT_S, BeforeRequest
from secretsd.notify.units import Systemd, SystemdError, UnitState

_MAX_UNIT_CHARS = 255

# It may read the bundle's files, so nothing of its memory may reach a disk.
_PROPERTIES = ("NoNewPrivileges=yes", "UMask=0077", "LimitCORE=0", "MemorySwapMax=0")


def ask(request: BeforeRequest, before: Before, systemd: Systemd, *, daemon_uid: int) -> UnitReport:
    """Runs `before`: "willing" when it exits with 0, else "unwilling" with the reason.

    Blocks up to the program's time limit and BEFORE_GRACE_S.
    Raises: NotConfiguredError where the owner is nobody to run it as.
    """
    must_be_ordinary(before.owner, daemon_uid=daemon_uid)
    unit, program = transient_unit(request), before.command[0]
    try:
        systemd.forget(unit)  # a helper that was killed may have left it
        systemd.run(
            unit,
            [program, *map(_unexpanded, before.command[1:])],
            options=_options(request, before),
            timeout_s=before.timeout_s + BEFORE_GRACE_S / 2,
        )
    except SystemdError as error:
        return _unwilling(before, unit, error, systemd)
    return UnitReport("willing", f"{program} exited with 0")


def must_be_ordinary(owner: str, *, daemon_uid: int) -> None:
    """Raises: NotConfiguredError where `owner` is unknown, is root or is the daemon's own user.

    The daemon may ask at any time. What it can start must have no right that a bot does not have.
    """
    try:
        uid = pwd.getpwnam(owner).pw_uid
    except (KeyError, OSError, ValueError):
        problem = "does not exist"
    else:
        if uid not in (0, daemon_uid):
            return
        problem = "is root" if uid == 0 else "is secretsd's own"
    raise NotConfiguredError(
        f"before cannot be run: the user {owner} {problem}",
        advice="name a user of the bundle's own as its owner",
    )


def transient_unit(request: BeforeRequest) -> str:
    """The name of the service that the program runs in, and the journal's name for its output."""
    name = f"secretsd-before:{request.bundle}:{request.unit.replace('@', ':')}"
    return name if len(name) <= _MAX_UNIT_CHARS else f"{name[: _MAX_UNIT_CHARS - 8]}.service"


def _options(request: BeforeRequest, before: Before) -> list[str]:
    timeouts = (f"TimeoutStartSec={before.timeout_s:g}s", f"TimeoutStopSec={STOP_TIMEOUT_S:g}s")
    return [
        f"--uid={before.owner}",
        f"--description=secretsd asks whether {request.unit} may be touched",
        *(f"--property={text}" for text in (*_PROPERTIES, *timeouts)),
    ]


def _unexpanded(word: str) -> str:
    """systemd.service(5), "Command lines": $NAME would become what the environment holds."""
    return word.replace("$", "$$")


def _unwilling(before: Before, unit: str, error: SystemdError, systemd: Systemd) -> UnitReport:
    try:
        state = systemd.look(unit)
    except SystemdError:
        return UnitReport("unwilling", str(error), error.advice)
    if state.active_state != "failed":
        return UnitReport("unwilling", str(error), error.advice)
    systemd.forget(unit)
    message = f"{before.command[0]} {_end(state, before)}"
    return UnitReport("unwilling", message, f"see what it wrote: journalctl -u {unit} -n 20")


def _end(state: UnitState, before: Before) -> str:
    match state.result, state.main_status:
        case "exit-code", "203":
            return "could not be started (203): is it there, and may its owner run it?"
        case "exit-code", status:
            return f"says no: it exited with {status}"
        case "timeout", "0":
            return f"exited with 0, but what it has left running did not end within {STOP_TIMEOUT_S:g} s"
        case "timeout", _:
            return f"did not end within {before.timeout_s:g} s (before_timeout), and was ended"
        case _:
            return f"says no: {state.end}"
