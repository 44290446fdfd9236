"""Hears at once when somebody touches the published files; `Restores` then looks what it was.

It is an ear, not the truth: whatever was heard makes the conductor look at everything, so that an event which
the kernel drops (IN_Q_OVERFLOW) hides nothing. But a directory that nobody watches is silent: `is_sure` says
whether there is one, and then the conductor looks at short intervals.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from secretsd import inotify
from secretsd.inotify import Event, Inotify
from secretsd.refresh.files import tree

log = logging.getLogger(__name__)

# Not opening and reading: that is what bots do.
_CHANGES = (
    (inotify.MODIFY | inotify.ATTRIB | inotify.CLOSE_WRITE | inotify.CREATE | inotify.DELETE)
    | (inotify.MOVED_FROM | inotify.MOVED_TO | inotify.DELETE_SELF | inotify.MOVE_SELF)
    | (inotify.ONLYDIR | inotify.DONT_FOLLOW)
)
_COMES = inotify.CREATE | inotify.MOVED_TO
_GOES = inotify.IGNORED | inotify.MOVE_SELF
# A bot may write to its own file as fast as it can. Beyond this many events a second nobody listens for a
# while: looking at intervals costs the same whatever it does.
_MOST_EVENTS = 500
_DEAF_S = 30.0

_NOT_WATCHED = (
    "are not watched, only looked at each 1.5 s: raise fs.inotify.max_user_watches and max_user_instances"
)


class Watch:
    """An inotify watch on a runtime directory and all below its generations; calls `on_change` on the loop.

    All methods are for the loop's thread.
    """

    def __init__(self, runtime_dir: Path, on_change: Callable[[], None]) -> None:
        self.problem = ""  # why nobody listens; empty when all is well
        self._runtime_dir = runtime_dir
        self._on_change = on_change
        self._ear: Inotify | None = None
        self._watched: dict[int, tuple[Path, int]] = {}  # directory and inode, by the watch's number
        self._roots: frozenset[int] = frozenset()  # the watches without which nothing is heard any more
        self._deaf_until = 0.0
        self._second = 0
        self._count = 0  # of events in that second

    def keep_up(self, now: float) -> None:
        """Starts to listen where nobody does; `now` is monotonic, in seconds. To be called often."""
        if self._ear is None and now >= self._deaf_until:
            try:
                self._start()
            except OSError as error:
                self.stop()
                self._deaf_until = now + _DEAF_S
                # Most likely a limit of inotify (fs.inotify.max_user_watches, max_user_instances).
                self._tell(f"published files ({type(error).__name__}) {_NOT_WATCHED}")
            else:
                self.problem = ""

    def is_sure(self, directories: Collection[int]) -> bool:
        """Whether every change in these directories (inodes) would be heard."""
        if self._ear is None:
            return False
        unheard = set(directories) - {inode for _, inode in self._watched.values()}
        self.problem = f"{len(unheard)} directories {_NOT_WATCHED}" if unheard else ""
        return not unheard

    def stop(self) -> None:
        """Listens no more, until `keep_up` begins anew."""
        ear, self._ear = self._ear, None
        if ear is not None:
            asyncio.get_running_loop().remove_reader(ear.fd)
            ear.close()
        self._watched.clear()

    def _start(self) -> None:
        self._ear = Inotify()
        asyncio.get_running_loop().add_reader(self._ear.fd, self._hear, self._ear)
        roots = (self._runtime_dir, self._runtime_dir / tree.GENERATIONS)
        self._roots = frozenset(self._add(self._ear, directory) for directory in roots)
        self._add_below(self._ear, roots[1])

    def _add(self, ear: Inotify, directory: Path) -> int:
        watch = ear.add(directory, _CHANGES)
        self._watched[watch] = (directory, os.stat(directory, follow_symlinks=False).st_ino)
        return watch

    def _add_below(self, ear: Inotify, directory: Path) -> None:
        """Every directory in this one that can be watched; `is_sure` knows of the others."""
        # It is watched already: what comes into it after the list was made is heard.
        for entry in list(os.scandir(directory)):
            if entry.is_dir(follow_symlinks=False):
                self._add_with_all_below(ear, Path(entry.path))

    def _add_with_all_below(self, ear: Inotify, directory: Path) -> None:
        with suppress(OSError):  # it may be gone by now
            self._add(ear, directory)
            self._add_below(ear, directory)

    def _hear(self, ear: Inotify) -> None:
        """Somebody, perhaps a worker of ours, has touched something."""
        events = list(ear.read())
        if self._is_flood(len(events), time.monotonic()):
            log.warning(
                "published files are touched too often to listen", extra={"looked_at_instead_for_s": _DEAF_S}
            )
            self._deaf_until = time.monotonic() + _DEAF_S
            self.stop()
        elif any(self._is_end(event) for event in events):
            self.stop()
        else:
            for event in events:
                self._follow(ear, event)
        if events:
            self._on_change()

    def _is_flood(self, events: int, now: float) -> bool:
        second = int(now)
        self._count = self._count + events if second == self._second else events
        self._second = second
        return self._count > _MOST_EVENTS

    def _is_end(self, event: Event) -> bool:
        """Whether all has to be watched anew: new directories may have come unheard, or a root has gone."""
        is_lost = bool(event.mask & inotify.Q_OVERFLOW)
        return is_lost or (event.watch in self._roots and bool(event.mask & _GOES))

    def _follow(self, ear: Inotify, event: Event) -> None:
        """Watches what has come, and forgets what the kernel has let go of."""
        if event.mask & inotify.IGNORED:
            self._watched.pop(event.watch, None)
        elif event.mask & _COMES and event.mask & inotify.ISDIR and event.watch in self._watched:
            directory, _ = self._watched[event.watch]
            if directory != self._runtime_dir:
                self._add_with_all_below(ear, directory / event.name)

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            log.warning("published files are not watched", extra={"reason": problem})
