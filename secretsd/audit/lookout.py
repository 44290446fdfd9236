"""Hears when the path of an audit file may lead elsewhere than before, whoever did what to it.

Nothing here says what has happened: `look` of the log sees that. After each sound all watches are made anew,
since the path may lead through other directories by then.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

from secretsd import inotify
from secretsd.inotify import Inotify, Mounts

_IN_DIRECTORY = inotify.CREATE | inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO
# Of the directory and each one above it, not of what is in them.
_ON_THE_WAY = inotify.ATTRIB | inotify.DELETE_SELF | inotify.MOVE_SELF | inotify.ONLYDIR


class Lookout:
    """Calls `heard` on the loop. All methods are for the loop's thread, and none blocks."""

    def __init__(self, path: Path, heard: Callable[[], None]) -> None:
        self.problem = "it has not begun"  # why something may happen unheard; empty while nothing can
        self._path = path
        self._heard = heard
        self._is_stale = True  # something was heard since the watches were made
        self._watches: Inotify | None = None
        self._mounts: Mounts | None = None

    def listen(self) -> None:
        """Makes the watches anew where they must be. What happens from now on is heard, or is `problem`."""
        if not self._is_stale and not self.problem:
            return
        self.close()
        self._is_stale = False
        try:
            self._begin()
        except OSError as error:
            self.problem = _why(error)
        else:
            self.problem = self._unheard_link()

    def close(self) -> None:
        """Listens no more."""
        loop = asyncio.get_running_loop()
        for source in (self._watches, self._mounts):
            if source is not None:
                loop.remove_reader(source.fd)
                source.close()
        self._watches = self._mounts = None
        self.problem = "it has ended"

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._mounts = Mounts()
        loop.add_reader(self._mounts.fd, self._hear)
        self._watches = Inotify()
        loop.add_reader(self._watches.fd, self._hear_events, self._watches)
        # From the root on: a directory that is moved while the next one is looked for is heard.
        directory = self._path.parent
        for above in reversed(directory.parents):
            self._watches.add(above, _ON_THE_WAY)
        self._watches.add(directory, _ON_THE_WAY | _IN_DIRECTORY)

    def _unheard_link(self) -> str:
        directory = self._path.parent
        if os.path.realpath(directory) == os.path.abspath(directory):
            return ""
        return f"{directory} is reached by a symbolic link: name the directory itself in state_dir"

    def _hear_events(self, watches: Inotify) -> None:
        # Rotated files come and go in the directory, and are no business of ours.
        if any(event.name in ("", self._path.name) for event in watches.read()):
            self._hear()

    def _hear(self) -> None:
        loop = asyncio.get_running_loop()
        for source in (self._watches, self._mounts):
            if source is not None:
                loop.remove_reader(source.fd)  # one sound is enough, however many follow
        self._is_stale = True
        self._heard()


def _why(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EMFILE):
        return "a limit of inotify: raise fs.inotify.max_user_watches and max_user_instances"
    return f"{error.filename or 'inotify'}: {os.strerror(error.errno or 0)}"
