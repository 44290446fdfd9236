"""Hears at once when somebody touches the published files; `Restores` then looks what it was.

It is an ear, not the truth. What the kernel drops when events come too fast (IN_Q_OVERFLOW) is seen all the
same, since whatever was heard makes the conductor look at everything; but a directory that nobody watches is
silent. So `is_sure` asks the kernel which ones are watched, and while it is not sure the conductor looks at
short intervals.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Collection
from pathlib import Path

from watchdog.events import (
    DirAttribEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirModifiedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from secretsd.refresh.files import tree

log = logging.getLogger(__name__)

# A generation that is renamed into its place is met twice by a recursive watch: watchdog warns at length.
warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning, module="watchdog")

# Not opening and reading: that is what bots do.
_CHANGES: list[type[FileSystemEvent]] = [
    *(
        FileModifiedEvent,
        FileAttribEvent,
        FileClosedEvent,
        FileCreatedEvent,
        FileDeletedEvent,
        FileMovedEvent,
    ),
    *(DirModifiedEvent, DirAttribEvent, DirCreatedEvent, DirDeletedEvent, DirMovedEvent),
]
# A bot may write to its own file as fast as it can. Beyond this many events a second nobody listens for a
# while: looking at intervals costs the same whatever it does.
_MOST_EVENTS = 500
_DEAF_S = 30.0
# A directory that has just been made is watched a moment later: until then nobody is sure of it.
_SETTLING_S = 1.0


_NOT_WATCHED = (
    "are not watched, only looked at each 1.5 s: raise fs.inotify.max_user_watches and max_user_instances"
)


class Watch:
    """An inotify watch on a runtime directory; calls `on_change` from a thread of its own."""

    def __init__(self, runtime_dir: Path, on_change: Callable[[], None]) -> None:
        self.problem = ""  # why nobody listens; empty when all is well
        self._runtime_dir = runtime_dir
        self._ear = _Ear(on_change, str(runtime_dir / tree.GENERATIONS))
        self._observer: BaseObserver | None = None
        self._deaf_until = 0.0

    def keep_up(self, now: float) -> None:
        """Starts to listen, or stops for a while; `now` is monotonic, in seconds. To be called often."""
        if self._ear.is_flooded:
            self.stop()
            self._ear.is_flooded = False
            self._deaf_until = now + _DEAF_S
            log.warning(
                "published files are touched too often to listen", extra={"looked_at_instead_for_s": _DEAF_S}
            )
        elif self._observer is None and now >= self._deaf_until:
            self._start(now)
        elif self._ear.is_lost or (self._observer is not None and not _is_alive(self._observer)):
            self.stop()
            self._start(now)

    def _start(self, now: float) -> None:
        self._ear.is_lost = False
        try:
            self._observer = self._begun()
        except (OSError, RuntimeError) as error:
            # Most likely a limit of inotify (fs.inotify.max_user_watches, max_user_instances) or of threads.
            self._deaf_until = now + _DEAF_S
            problem = f"published files ({type(error).__name__}) {_NOT_WATCHED}"
            if problem != self.problem:
                self.problem = problem
                log.warning("published files are not watched", extra={"reason": problem})
        else:
            self.problem = ""

    def _begun(self) -> BaseObserver:
        observer = Observer()
        try:
            observer.schedule(self._ear, str(self._runtime_dir), event_filter=_CHANGES)
            observer.schedule(self._ear, self._ear.generations, recursive=True, event_filter=_CHANGES)
            observer.start()
        except BaseException:
            observer.stop()  # one of the two may have begun, with a thread and a descriptor of its own
            raise
        return observer

    def is_sure(self, directories: Collection[int], now: float) -> bool:
        """Whether every change in these directories (inodes) would be heard; `now` is monotonic seconds."""
        if self._observer is None or now - self._ear.heard_at < _SETTLING_S:
            return False
        unheard = set(directories) - watched_inodes()
        self.problem = f"{len(unheard)} directories {_NOT_WATCHED}" if unheard else ""
        return not unheard

    def stop(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            # Not joined: its threads end by themselves, and the event loop does not wait for them.
            observer.stop()


def _is_alive(observer: BaseObserver) -> bool:
    """Whether all its threads run. What one that has died on an error watched stays watched, unheard."""
    return observer.is_alive() and all(emitter.is_alive() for emitter in observer.emitters)


def watched_inodes() -> set[int]:
    """The inodes that this process's inotify instances watch, as the kernel says: proc_pid_fdinfo(5)."""
    found: set[int] = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{descriptor}") != "anon_inode:inotify":
                continue
            lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii").splitlines()
        except OSError:
            continue  # closed meanwhile
        for line in lines:
            fields = dict(field.split(":", 1) for field in line.split() if ":" in field)
            if line.startswith("inotify ") and "ino" in fields:
                found.add(int(fields["ino"], 16))
    return found


class _Ear(FileSystemEventHandler):
    """Hears events in watchdog's thread and counts them."""

    def __init__(self, on_change: Callable[[], None], generations: str) -> None:
        self.is_flooded = False
        self.is_lost = False  # the directory was removed, and with it its watch
        self.heard_at = 0.0  # monotonic seconds
        self.generations = generations
        self._on_change = on_change
        self._lock = threading.Lock()
        self._second = 0
        self._count = 0

    def on_any_event(self, event: FileSystemEvent) -> None:
        self.heard_at = time.monotonic()
        second = int(self.heard_at)
        with self._lock:
            self._count = self._count + 1 if second == self._second else 1
            self._second = second
            self.is_flooded = self.is_flooded or self._count > _MOST_EVENTS
            gone = isinstance(event, DirDeletedEvent | DirMovedEvent) and event.src_path == self.generations
            self.is_lost = self.is_lost or gone
        self._on_change()
