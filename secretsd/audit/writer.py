"""The thread that brings records to the disk: gathers, writes, syncs, tells. One fdatasync answers for many.

It shares with the loop one queue of lines and of those who wait for them, in the order in which they came,
and sleeps for as long as there is nothing in it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from secretsd.audit.chain import Head, head_of
from secretsd.audit.file import AuditFile, write_some
from secretsd.errors import LocalIOError

GATHER_S = 0.02  # leaves 30 ms for the disk, of the 50 that batched records may take
_FIRST_RETRY_S, _LAST_RETRY_S = 0.1, 5.0


class Commit:
    """Somebody who waits until what was appended before is on disk. `done` is None once it was called."""

    __slots__ = ("deadline_s", "done")

    def __init__(self, done: Callable[[OSError | None], None], deadline_s: float) -> None:
        self.done: Callable[[OSError | None], None] | None = done
        self.deadline_s = deadline_s

    def finish(self, error: OSError | None) -> None:
        """Calls `done`, once."""
        if self.done is not None:
            done, self.done = self.done, None
            done(error)


class Told:
    """What the writer's thread tells the loop; both are called in the thread."""

    def __init__(
        self,
        finished: Callable[[Sequence[Commit], OSError | None], None],
        happened: Callable[[str, OSError | None, Head], None],
    ) -> None:
        self.finished = finished  # these waited, and this is what came of it
        # "recovered", "unlinked", "replaced" or "not-rotated"; after which error; behind which record
        self.happened = happened


class Writer:
    """The thread. `queue` is appended to by the loop alone and emptied here alone."""

    def __init__(self, file: AuditFile, head: Head, told: Told) -> None:
        self.queue: deque[bytes | Commit] = deque()
        self.taken_bytes = 0  # of lines, ever; what the loop has appended beyond that waits in memory
        self.busy_since_s = 0.0  # CLOCK_MONOTONIC while the disk is asked, else 0
        self.error: OSError | None = None  # why the last attempt failed
        self._file = file
        self._told = told
        self._settled = os.fstat(file.fd).st_size  # the file's length up to which it is on disk,
        self._head = head  # and the record that ends there
        self._batch_head = head
        self._batch_bytes = 0
        self._rest = b""  # of the batch, not yet written
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._is_asleep = False
        self._is_urgent = False
        self._is_closing = False
        self._must_look = False
        self._no_rotation_below = 0  # bytes: the last attempt failed
        self._taken_at_s = 0.0
        # A daemon: a disk that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()

    def appended(self) -> None:
        """Something is in the queue: the loop says so after each append. Wakes the thread if it sleeps."""
        if self._is_asleep:
            self._is_asleep = False
            self._wake.put(None)

    def hurry(self) -> None:
        """Somebody waits: what is in the queue is written at once."""
        if not self._is_urgent:
            self._is_urgent = True
            self._wake.put(None)

    def look(self) -> None:
        """Sees whether the file is still at its place, though there is nothing to write."""
        self._must_look = True
        self.hurry()

    def is_alive(self) -> bool:
        """Whether what is appended will be written."""
        return self._thread.is_alive() and not self._is_closing

    def close(self, patience_s: float) -> bool:
        """Writes what there is and ends. Returns False where the disk did not let it within `patience_s`."""
        self._is_closing = True
        self._wake.put(None)
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while self._await_work():
            commits = self._take()
            retry_s = _FIRST_RETRY_S
            while not self._attempt(commits):
                if self._is_closing:
                    return
                commits = []
                self._pause(retry_s)
                retry_s = min(retry_s * 2, _LAST_RETRY_S)
            # After those who waited for the batch: what follows is none of their business.
            if self._settled >= max(self._file.max_bytes, self._no_rotation_below):
                self._rotate()

    def _await_work(self) -> bool:
        """Sleeps until there is work and others had a moment to join it. Returns False at the end."""
        if not self.queue and not self._must_look:
            self._is_asleep = True
            # Looked at once more: what came in between saw a thread that was still up, and did not wake it.
            if not self.queue and not self._is_urgent and not self._is_closing:
                self._wake.get()
            self._is_asleep = False
            self._taken_at_s = time.monotonic()
        while not self._is_urgent and not self._is_closing:
            left_s = self._taken_at_s + GATHER_S - time.monotonic()
            if left_s <= 0:
                break
            with contextlib.suppress(Empty):
                self._wake.get(timeout=left_s)
        return not self._is_closing or bool(self.queue)

    def _take(self) -> list[Commit]:
        """Empties the queue into one piece to write. Returns those who wait for it."""
        self._is_urgent = False  # before the queue is read: who comes after this wakes us again
        self._taken_at_s = time.monotonic()
        lines: list[bytes] = []
        commits: list[Commit] = []
        for _ in range(len(self.queue)):
            item = self.queue.popleft()
            if isinstance(item, bytes):
                lines.append(item)
            else:
                commits.append(item)
        self._rest = b"".join(lines)
        self._batch_bytes = len(self._rest)
        self.taken_bytes += self._batch_bytes
        if lines:
            self._batch_head = head_of(lines[-1]) or self._head
        return commits

    def _attempt(self, commits: list[Commit]) -> bool:
        """Tries to bring the batch to the disk, and tells those who wait. Returns whether it is there."""
        error, before, known = None, self.error, self._head
        self.busy_since_s = time.monotonic()
        try:
            self._store()
        except OSError as why:
            error = why
        except LocalIOError as why:
            error = OSError(errno.EBUSY, str(why))
        self.busy_since_s = 0.0
        if before is not None and error is None:
            # Before the error is seen to be over: a stop at that moment still puts it on record.
            self._told.happened("recovered", before, known)
        self.error = error
        if commits or error is not None:
            self._told.finished(commits, error)
        return error is None

    def _store(self) -> None:
        while self._rest:
            self._rest = write_some(self._file.fd, self._rest)
        if self._batch_bytes:
            os.fdatasync(self._file.fd)
        self._must_look = False
        if self._file.is_elsewhere():
            what = self._file.come_back(self._settled, self._head)
            self._told.happened(what, None, self._head)
            self._settled = os.fstat(self._file.fd).st_size
        else:
            self._settled += self._batch_bytes
        self._head, self._batch_bytes = self._batch_head, 0

    def _rotate(self) -> None:
        self.busy_since_s = time.monotonic()
        try:
            if self._file.is_elsewhere():
                return  # `_store` sees it, too, and brings it back first
            self._file.rotate(self._head)
            self._settled = os.fstat(self._file.fd).st_size
        except (OSError, LocalIOError) as error:
            # A file that is too long is a smaller evil than one that is not written.
            self._no_rotation_below = self._settled + self._file.max_bytes // 8
            why = error if isinstance(error, OSError) else OSError(errno.EBUSY, str(error))
            self._told.happened("not-rotated", why, self._head)
        finally:
            self.busy_since_s = 0.0

    def _pause(self, pause_s: float) -> None:
        until_s = time.monotonic() + pause_s
        while not self._is_closing and (left_s := until_s - time.monotonic()) > 0:
            with contextlib.suppress(Empty):
                self._wake.get(timeout=left_s)
