"""Running `secretsctl` as a process, with and without a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_LIFE_S = 20.0


def command(socket: Path | None, *arguments: str) -> list[str]:
    """`socket` is None for a command that asks no daemon."""
    of_the_daemon = [] if socket is None else ["--socket", str(socket)]
    return [sys.executable, "-m", "secretsd.cli", *arguments, *of_the_daemon]


def environment(**more: str) -> dict[str, str]:
    bare = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    return {**bare, "PYTHONPATH": str(ROOT), "TERM": "xterm", "LC_ALL": "C.UTF-8", **more}


def ctl(socket: Path | None, *arguments: str, **more: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr, neither of which is a terminal."""
    done = subprocess.run(
        command(socket, *arguments),
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
        timeout=_LIFE_S,
    )
    return done.returncode, done.stdout, done.stderr


def on_terminal(
    socket: Path | None,
    *arguments: str,
    act: Callable[[int, str], None] | None = None,
    columns: int | None = None,
    typed: bytes = b"",
    **more: str,
) -> tuple[int, str]:
    """Exit code and all that was written to a terminal; `act(pid, written so far)` is called on the way.

    `typed` waits in the terminal from the beginning.

    A terminal without `columns` does not say how wide it is.
    """
    ours, theirs = pty.openpty()
    if columns is not None:
        termios.tcsetwinsize(theirs, (24, columns))
    child = subprocess.Popen(
        command(socket, *arguments), env=environment(**more), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, typed)
    written, deadline = b"", time.monotonic() + _LIFE_S
    try:
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    piece = os.read(ours, 65536)
                except OSError:  # EIO: nobody has it open any more
                    break
                written += piece
            if act is not None:
                act(child.pid, written.decode())
        return child.wait(_LIFE_S), written.decode()
    finally:
        child.kill()
        child.wait()
        os.close(ours)
