"""Which processes are the daemons' own, and what each of them is: the roles of docs/security.md."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from tests.lab.processes import children_of

_UNIT_ROLES = {
    "secretsd.service": "conductor",
    "secretsd-notify.service": "notify helper",
    "secretsd-signer.service": "signer",
    "secretsd-shipper.service": "shipper",
}
_ZYGOTE, _LISTENER = b"secretsd.refresh.worker.zygote", b"secretsd.push.listener"


def family(pid: int, role: str) -> dict[int, str]:
    """A daemon and all that it has started, by pid, with their roles. Empty where it has ended."""
    found: dict[int, str] = {}
    waiting = [(pid, role)]
    while waiting:
        member, its_role = waiting.pop()
        if command := _command(member):
            found[member] = its_role
            waiting += [(child, _role_of_child(child, command, its_role)) for child in children_of(member)]
    return found


def on_machine(pids: Iterable[int]) -> dict[int, str]:
    """Those of a machine's processes that are of secretsd's units, by pid, with their roles."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            unit = Path(f"/proc/{pid}/cgroup").read_text().splitlines()[-1].rpartition("/")[2]
            if unit in _UNIT_ROLES:
                found[pid] = _role_in_unit(pid, _UNIT_ROLES[unit])
    return found


def is_stopped(pid: int) -> bool:
    """By SIGSTOP: whoever asks it waits."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "tT"
    return True


def _role_in_unit(pid: int, role: str) -> str:
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return _role_of_child(pid, _command(parent), role)


def _role_of_child(pid: int, parents_command: bytes, parents_role: str) -> str:
    command = _command(pid)
    if _ZYGOTE in command:
        # A worker is a fork: it has the zygote's own arguments.
        return "worker" if _ZYGOTE in parents_command else "zygote"
    return "listener" if _LISTENER in command else parents_role


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
