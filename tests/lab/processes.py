"""The processes of a lab machine seen from outside, for tests that read their memory or kill them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process of a lab machine; `name` is what the kernel calls it (15 characters)."""

    pid_outside: int
    pid_inside: int
    name: str
    uid: int
    argv: tuple[str, ...]


def processes_of(leader: int) -> list[Process]:
    """All processes in the PID namespace of `leader`; one that ends meanwhile may be missing."""
    namespace = os.readlink(f"/proc/{leader}/ns/pid")
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.readlink(entry / "ns/pid") == namespace:
                    found.append(_read(entry))
    return found


def children_of(pid: int) -> list[int]:
    """The direct children of a process; none when it has ended."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def is_alive(pid: int) -> bool:
    """False for a process that has ended, also while nobody has reaped it."""
    with contextlib.suppress(OSError):
        # The state follows the name, which is in parentheses and may hold any character.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def end(process: subprocess.Popen[bytes]) -> None:
    """Kills what `process` (of a session of its own) has started, then `process` itself."""
    # nsenter waits for a child in the machine. The child goes first, so that nsenter reaps it: an orphan
    # stays a zombie until this machine's PID 1 looks, and holds up the lab machine's shutdown.
    for child in children_of(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0.2)
    # Grandchildren, which may hold the pipes.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(entry: Path) -> Process:
    status = dict(
        line.split(":\t", 1) for line in (entry / "status").read_text().splitlines() if ":\t" in line
    )
    argv = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    return Process(
        pid_outside=int(entry.name),
        pid_inside=int(status["NSpid"].split()[-1]),
        name=status["Name"],
        uid=int(status["Uid"].split()[0]),
        argv=tuple(argv),
    )
