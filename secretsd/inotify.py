"""inotify(7) and proc_pid_mountinfo(5) as file descriptors for an event loop: no thread, no polling.

The C library's own three calls. watchdog needs three threads for them, and does not tell that the watched
directory itself was moved; inotify_simple runs ldconfig to find the C library.
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

# linux/inotify.h
ATTRIB, CLOSE_WRITE, MODIFY = 0x4, 0x8, 0x2
MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x40, 0x80, 0x100, 0x200
DELETE_SELF, MOVE_SELF = 0x400, 0x800
ONLYDIR, DONT_FOLLOW = 0x01000000, 0x02000000
# What comes unasked: events were dropped, a watch has ended, it is about a directory.
Q_OVERFLOW, IGNORED, ISDIR = 0x4000, 0x8000, 0x40000000

_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name
_MOST_BYTES = 65536
_libc = ctypes.CDLL(None, use_errno=True)


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
        self.fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def add(self, path: Path, mask: int) -> int:
        """Watches a path from now on. Returns the watch's number, the same one for the same inode.

        Raises: OSError, ENOSPC beyond fs.inotify.max_user_watches, EACCES where the path may not be read.
        """
        return _checked(_libc.inotify_add_watch(self.fd, os.fsencode(path), ctypes.c_uint32(mask)), path)

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
