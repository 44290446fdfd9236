"""Hears at once when somebody touches the published files; `Restores` then looks what it was.

It is an ear, not the truth: the kernel drops events when they come too fast (IN_Q_OVERFLOW) or when a limit
of inotify is reached, so the conductor looks at every file at short intervals anyway.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable
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

from secretsd.refresh import tree

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
        elif self._ear.is_lost:
            self.stop()
            self._start(now)

    def _start(self, now: float) -> None:
        self._ear.is_lost = False
        try:
            self._observer = self._begun()
        except (OSError, RuntimeError) as error:
            # Most likely a limit of inotify (fs.inotify.max_user_watches, max_user_instances) or of threads.
            self._deaf_until = now + _DEAF_S
            problem = f"published files are not watched, only looked at: {type(error).__name__}"
            if problem != self.problem:
                self.problem = problem
                log.warning("published files are not watched", extra={"reason": problem})
            return
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

    def stop(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            # Not joined: its threads end by themselves, and the event loop does not wait for them.
            observer.stop()


class _Ear(FileSystemEventHandler):
    """Hears events in watchdog's thread and counts them."""

    def __init__(self, on_change: Callable[[], None], generations: str) -> None:
        self.is_flooded = False
        self.is_lost = False  # the directory was removed, and with it its watch
        self.generations = generations
        self._on_change = on_change
        self._lock = threading.Lock()
        self._second = 0
        self._count = 0

    def on_any_event(self, event: FileSystemEvent) -> None:
        second = int(time.monotonic())
        with self._lock:
            self._count = self._count + 1 if second == self._second else 1
            self._second = second
            self.is_flooded = self.is_flooded or self._count > _MOST_EVENTS
            gone = isinstance(event, DirDeletedEvent | DirMovedEvent) and event.src_path == self.generations
            self.is_lost = self.is_lost or gone
        self._on_change()
