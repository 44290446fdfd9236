"""inotify(7) and proc_pid_mountinfo(5) as file descriptors for an event loop: no thread, no polling.

watchdog's binding of the C library, without watchdog's observers: those need threads, wait half a second, and
do not tell that the watched directory itself was moved.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secretsd.parts import parts_of

_binding: Any
(_binding,) = parts_of("watchdog.observers", "inotify_c")
_flags = _binding.InotifyConstants

MODIFY: int = _flags.IN_MODIFY
ATTRIB: int = _flags.IN_ATTRIB
CLOSE_WRITE: int = _flags.IN_CLOSE_WRITE
CREATE: int = _flags.IN_CREATE
DELETE: int = _flags.IN_DELETE
MOVED_FROM: int = _flags.IN_MOVED_FROM
MOVED_TO: int = _flags.IN_MOVED_TO
DELETE_SELF: int = _flags.IN_DELETE_SELF
MOVE_SELF: int = _flags.IN_MOVE_SELF
ONLYDIR: int = _flags.IN_ONLYDIR
DONT_FOLLOW: int = _flags.IN_DONT_FOLLOW
# What comes unasked: events were dropped, a watch has ended, it is about a directory.
Q_OVERFLOW: int = _flags.IN_Q_OVERFLOW
IGNORED: int = _flags.IN_IGNORED
ISDIR: int = _flags.IN_ISDIR

_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name
_MOST_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Event:
    """What the kernel has told."""

    watch: int
    mask: int
    name: str  # within the watched directory; empty where it is about the directory itself, or a file


class Inotify:
    """One instance. `fd` can be read from when there are events."""

    def __init__(self) -> None:
        """Raises: OSError, EMFILE beyond fs.inotify.max_user_instances."""
        self.fd = _checked(_binding.inotify_init())
        os.set_blocking(self.fd, False)
        os.set_inheritable(self.fd, False)  # noqa: FBT003 - its second argument has no name

    def add(self, path: Path, mask: int) -> int:
        """Watches a path from now on. Returns the watch's number, the same one for the same inode.

        Raises: OSError, ENOSPC beyond fs.inotify.max_user_watches, EACCES where the path may not be read.
        """
        return _checked(_binding.inotify_add_watch(self.fd, os.fsencode(path), mask), path)

    def read(self) -> Iterator[Event]:
        """The events that wait, at most some thousand; none where none does. Does not block."""
        with suppress(BlockingIOError):
            yield from _parsed(os.read(self.fd, _MOST_BYTES))

    def close(self) -> None:
        """Ends all watches."""
        os.close(self.fd)


class Mounts:
    """`fd` can be read from once something was mounted or unmounted in this process's mount namespace.

    inotify is silent then: what is mounted over a directory hides it, and a file system that is detached
    lives on while a file in it is open.
    """

    def __init__(self) -> None:
        """Raises: OSError."""
        with open("/proc/self/mountinfo", "rb", buffering=0) as table:
            # The file itself counts as readable at all times; a change is its "exceptional condition".
            self._table = os.dup(table.fileno())
        self._poll = select.epoll()
        self._poll.register(self._table, select.EPOLLPRI)

    @property
    def fd(self) -> int:
        return self._poll.fileno()

    def close(self) -> None:
        self._poll.close()
        os.close(self._table)


def _checked(result: int, path: Path | None = None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result


def _parsed(data: bytes) -> Iterator[Event]:
    at = 0
    while at < len(data):
        watch, mask, _, length = _EVENT.unpack_from(data, at)
        at += _EVENT.size
        yield Event(watch, mask, os.fsdecode(data[at : at + length].rstrip(b"\0")))
        at += length
