"""A sign of life on stderr where something takes longer than a second."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator

from secretsd.cli.times import span

PATIENCE_S = 1.0

_FRAMES = "|/-\\"  # a host's serial console shows these too
_FRAME_S = 0.1
_CLEAR = "\r\x1b[K"


@contextlib.contextmanager
def spinning(what: str) -> Iterator[None]:
    """Turns while the block runs, from its second second on. Its line is gone when the block has ended."""
    if not _is_wanted():
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_turn, args=(what, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _is_wanted() -> bool:
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _turn(what: str, done: threading.Event) -> None:
    began, number = time.monotonic(), 0
    if done.wait(PATIENCE_S):
        return
    # A terminal that went away is no reason to fail: the block's own result counts.
    with contextlib.suppress(OSError):
        while not done.is_set():
            line = f"{_FRAMES[number % len(_FRAMES)]} {what} ({span(time.monotonic() - began)})"
            sys.stderr.write(f"\r{line[: _columns() - 1]}\x1b[K")
            sys.stderr.flush()
            number += 1
            done.wait(_FRAME_S)
    with contextlib.suppress(OSError):
        sys.stderr.write(_CLEAR)
        sys.stderr.flush()


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80
