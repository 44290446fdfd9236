"""Code of ours under strace: which system calls it makes, and what becomes of it when one of them fails.

The code runs in a child that first waits for a signal, so that strace is attached before it begins, and it
stands between two marks (getpriority, which nothing else here calls): only calls between the marks count.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

KILL = "SIGKILL"
ERRNOS = ("ENOSPC", "EIO", "EROFS", "EMFILE", "ENOMEM", "EINTR", "EACCES", "EDQUOT")
FAULTS = (KILL, *ERRNOS)

_MARK = "getpriority"
_FIRST_MARK = f"{_MARK}(PRIO_PROCESS"
# It answers with an address, whatever happens: an error that is put there is none that a program could meet.
_NEVER_FAILS = "brk"
_CALL = re.compile(r"([a-z_0-9]+)\(")
_ATTACH_S = 5.0
_RUN_S = 20.0
_ATTEMPTS = 5


class InjectionError(RuntimeError):
    """strace could not do what was asked: a fault of this machine, not of the code under test."""


@dataclass(frozen=True, slots=True)
class Call:
    """A system call by its name and the how-manieth of that name it is, counted from strace's attaching."""

    name: str
    occurrence: int

    def __str__(self) -> str:
        return f"{self.name}#{self.occurrence}"


def missing() -> str | None:
    """Why nothing can be injected here, with the fix; None when it can."""
    if os.geteuid() != 0:
        return "faults are injected as root: run the tests as root"
    if shutil.which("strace") is None:
        return "faults are injected by strace: apt-get install strace"
    return None


@dataclass(frozen=True, slots=True)
class Subject:
    """What is traced: `prepare` runs before strace looks, `code` between the marks."""

    prepare: Callable[[], None]
    code: Callable[[], int]


def calls_of(subject: Subject, log: Path) -> list[Call]:
    """The system calls that `subject` makes, in their order. Raises InjectionError."""
    _, lines = _traced(subject, log, [])
    seen: Counter[str] = Counter()
    calls: list[Call] = []
    marks = 0
    for line in lines:
        if (match := _CALL.match(line)) is None:
            continue
        name = match[1]
        marks += name == _MARK
        seen[name] += 1
        if marks == 1 and name not in (_MARK, _NEVER_FAILS):
            calls.append(Call(name, seen[name]))
    if marks != 2:
        raise InjectionError(f"the trace has {marks} marks instead of 2")
    return calls


def inject(subject: Subject, log: Path, call: Call, fault: str) -> int | None:
    """Runs `subject` with `fault` at `call`: killed before the call is made, or the call fails unmade.

    Returns what its code returned, or None where it was killed.
    Raises: InjectionError, also where the fault did not strike between the marks.
    """
    how = "signal=SIGKILL" if fault == KILL else f"error={fault}"
    options = [
        f"--trace={call.name},{_MARK}",
        f"--inject={call.name}:{how}:when={call.occurrence}",
    ]
    status, lines = _traced(subject, log, options)
    marks_before = marks_after = hits = 0
    for line in lines:
        is_mark = line.startswith(f"{_MARK}(")
        marks_before += is_mark and not hits
        marks_after += is_mark and bool(hits)
        hits += line.endswith("(INJECTED)") or line == "+++ killed by SIGKILL +++"
    killed = os.WIFSIGNALED(status)
    if (marks_before, marks_after, hits) != (1, 0 if killed else 1, 1) or killed != (fault == KILL):
        raise InjectionError(f"{fault} at {call} struck {hits} times after {marks_before} marks")
    return None if killed else os.waitstatus_to_exitcode(status)


def _traced(subject: Subject, log: Path, options: list[str]) -> tuple[int, list[str]]:
    for _ in range(_ATTEMPTS):
        status, lines = _traced_once(subject, log, options)
        # Without its first mark strace came too late: it holds a process a moment after it is shown to.
        if any(line.startswith(_FIRST_MARK) for line in lines):
            return status, lines
    raise InjectionError("strace was never attached before the code began")


def _traced_once(subject: Subject, log: Path, options: list[str]) -> tuple[int, list[str]]:
    # Blocked here already: the child could be told to go on before it has blocked it itself.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    pid = os.fork()
    if pid == 0:
        _wait_and_run(subject)
    command = ["strace", "-q", "-o", str(log), "-p", str(pid), *options]
    tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _wait_until_traced(pid, tracer)
        os.kill(pid, signal.SIGUSR1)
        tracer.communicate(timeout=_RUN_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        tracer.kill()
        tracer.wait()
        _, status = os.waitpid(pid, 0)
    return status, log.read_text(errors="replace").splitlines()


def _wait_and_run(subject: Subject) -> NoReturn:
    result = 70
    try:
        subject.prepare()
        # The wait is a system call that the code under test never makes: its restarts disturb no count.
        signal.sigwait({signal.SIGUSR1})
        os.getpriority(os.PRIO_PROCESS, 0)
        result = subject.code()
        os.getpriority(os.PRIO_USER, 0)
    finally:
        os._exit(result)


def _wait_until_traced(pid: int, tracer: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _ATTACH_S
    while f"\nTracerPid:\t{tracer.pid}\n" not in Path(f"/proc/{pid}/status").read_text():
        if tracer.poll() is not None or time.monotonic() > deadline:
            said = tracer.communicate()[1].decode(errors="replace") if tracer.poll() is not None else ""
            sys.stderr.write(said)
            raise InjectionError("strace does not attach: ptrace must be allowed to root here")
        time.sleep(0.001)
