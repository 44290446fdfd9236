"""What `secretsctl doctor` finds out about a signer without asking it: units, user, the PIN's file."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from secretsd.cli import local_checks
from secretsd.config.signer import INSTALLED_SIGNER_DIR, Signer
from secretsd.control.check import Check, fail, ok, warn
from secretsd.errors import ExitCode

USER = "secretsd-signer"
UNITS = (
    "secretsd-signer.socket",
    "secretsd-signer-native.socket",
    "secretsd-signer-metrics.socket",
    "secretsd-signer.service",
)
_CREDENTIALS = (Path("/etc/credstore"), Path("/run/credstore"))
_ENCRYPTED = Path("/etc/credstore.encrypted")


def host(config: Signer) -> Iterator[Check]:
    """Nothing of a signer in the foreground."""
    if config.socket.parent != INSTALLED_SIGNER_DIR:
        return
    try:
        pwd.getpwnam(USER)
    except KeyError:
        fix = "systemd-sysusers; systemctl restart secretsd-signer"
        yield fail("signer user", f"the user {USER} does not exist", fix, ExitCode.CONFIG)
    yield from units({unit: local_checks.shown(unit, "ActiveState,UnitFileState") for unit in UNITS})
    kind, _, name = config.pin.partition(":")
    if kind == "credential":
        yield from credential(name, _CREDENTIALS, _ENCRYPTED)


def stopped_by_a_mistake() -> Iterator[Check]:
    """For a configuration that cannot be read, and so does not say whether there is to be a signer: only
    what systemd calls failed."""
    unit = "secretsd-signer.service"
    if local_checks.shown(unit, "ActiveState").get("ActiveState") == "failed":
        fix = "correct the configuration, then: systemctl restart secretsd-signer"
        yield fail("signer units", f"{unit} has failed: no bot gets a signature", fix, ExitCode.CONFIG)


def units(found: dict[str, dict[str, str]]) -> Iterator[Check]:
    """By what systemd says of each unit; nothing where it says nothing. Pure."""
    down = [unit for unit, state in found.items() if state.get("ActiveState", "active") != "active"]
    disabled = [unit for unit, state in found.items() if state.get("UnitFileState") == "disabled"]
    if down:
        fix = (
            "systemctl enable --now secretsd-signer; if it does not stay: journalctl -u secretsd-signer -n 50"
        )
        yield fail("signer units", f"not active: {', '.join(down)}", fix, ExitCode.TRY_AGAIN)
    elif disabled:
        what = f"gone after the next boot, as nothing starts them: {', '.join(disabled)}"
        yield warn("signer units", what, "systemctl enable secretsd-signer")
    elif any(found.values()):
        yield ok("signer units", "sockets and service are active, and enabled")


def credential(name: str, places: tuple[Path, ...], encrypted: Path) -> Iterator[Check]:
    """The PIN's file, by its mode; its content is none of our business."""
    try:
        there = [path for path in (place / name for place in places) if _mode(path) is not None]
        if not there and _mode(encrypted / name) is None:
            fix = f"put it into {places[0] / name}, mode 600, unless a drop-in of the unit has another place"
            yield warn("pin", f"no {places[0] / name} and no {encrypted / name}", fix)
        for path in there:
            if (_mode(path) or 0) & 0o077:
                what = f"{path} may be read by others than its owner"
                yield fail("pin", what, f"chmod 600 {path}", ExitCode.CONFIG)
            else:
                yield ok("pin", f"{path} is its owner's alone")
    except PermissionError:
        return  # the directory is root's; the signer itself says whether it has a PIN


def _mode(path: Path) -> int | None:
    """Raises: PermissionError."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except PermissionError:
        raise
    except OSError:
        return None
