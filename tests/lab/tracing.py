"""strace on a process that runs already, with all its threads and what it starts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

_ATTACH_S = 10.0


@contextlib.contextmanager
def traced(pid: int, *options: str, output: Path = Path("/dev/null")) -> Iterator[None]:
    """Inside of this all threads of `pid` are traced; afterwards they go on without."""
    command = ["strace", "-f", "-qq", "-o", str(output), *options, "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + _ATTACH_S
        while not _are_all_traced(pid, tracer.pid):
            assert tracer.poll() is None, _said(tracer)
            assert time.monotonic() < deadline, "strace does not attach: ptrace must be allowed to root here"
            time.sleep(0.005)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            tracer.send_signal(signal.SIGINT)  # it lets go of them in order
        tracer.communicate()


def _are_all_traced(pid: int, by: int) -> bool:
    threads = os.listdir(f"/proc/{pid}/task")
    return all(f"\nTracerPid:\t{by}\n" in _status(pid, thread) for thread in threads)


def _status(pid: int, thread: str) -> str:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/task/{thread}/status").read_text()
    return ""


def _said(tracer: subprocess.Popen[bytes]) -> str:
    assert tracer.stderr is not None
    return tracer.stderr.read().decode(errors="replace")
