"""A unit's main process: whether it handles a signal, and sending it to that very process."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HARMLESS = frozenset({signal.SIGWINCH})  # of those that may be configured: ignored by default, signal(7)


@contextmanager
def held(pid: int) -> Iterator[int]:
    """A pidfd that names the process `pid` for as long as it is open, whoever gets the number afterwards.

    Raises: ProcessLookupError when there is none.
    """
    pidfd = os.pidfd_open(pid)
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def send(pidfd: int, number: signal.Signals) -> None:
    """Sends the signal.

    Raises: ProcessLookupError when the process has ended, PermissionError.
    """
    signal.pidfd_send_signal(pidfd, number)


class Fate(StrEnum):
    """What a signal would do to a process."""

    HEARD = "heard"
    LOST = "lost"
    DEADLY = "deadly"


def fate(pid: int, number: signal.Signals) -> Fate:
    """What `number` would do to the process as it is now.

    A signal that every thread blocks waits for a signalfd or a sigwait and can kill nobody: it counts as
    heard. A thread that is just in sigwait shows it as not blocked: that cannot be told from deadly.

    Raises: ProcessLookupError when the process has ended; OSError.
    """
    mask = 1 << (number - 1)
    try:
        process = _status(f"/proc/{pid}")
        if int(process["SigCgt"], 16) & mask:
            return Fate.HEARD
        if int(process["SigIgn"], 16) & mask:
            return Fate.LOST
        threads = [_status(f"/proc/{pid}/task/{thread}") for thread in os.listdir(f"/proc/{pid}/task")]
    except FileNotFoundError:
        raise ProcessLookupError from None
    if all(int(thread["SigBlk"], 16) & mask for thread in threads):
        return Fate.HEARD
    return Fate.LOST if number in _HARMLESS else Fate.DEADLY


def _status(directory: str) -> dict[str, str]:
    """The fields of a `status` file, proc(5).

    Raises: ProcessLookupError when it is a zombie's, whose handlers are gone; FileNotFoundError.
    """
    with open(f"{directory}/status", encoding="utf-8", errors="replace") as file:
        fields = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    if fields["State"].startswith(("Z", "X")):
        raise ProcessLookupError
    return fields
