"""The audit log of one daemon: records are numbered and chained here, on the loop, and written by a thread.

For up to 50 ms a record is in memory alone, and lost with the process (SIGKILL); `commit` is for those who
must not answer before it is on disk. Where the disk fails or hangs, memory is bounded: what no longer fits is
counted, and a later record says how many were lost. The chain never has a gap: a lost record was not in it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from secretsd.audit import record
from secretsd.audit.chain import Head, seal
from secretsd.audit.file import AuditFile, Opened, whole_second
from secretsd.audit.writer import Commit, Told, Writer
from secretsd.errors import LocalIOError

log = logging.getLogger(__name__)

AUDIT_GROUP = "secretsd-audit"  # its members read the trails
PATIENCE_S = 0.25  # for a disk: beyond it nobody waits for it any longer
MAX_WAITING_RECORDS = 50_000
MAX_WAITING_BYTES = 16 * 1024 * 1024
_CLOSE_PATIENCE_S = 5.0
_MOMENT_S = 0.005
MAX_FILE_BYTES = 64 * 1024 * 1024
# Somebody has touched the trail, or must make room: whoever reads the journal hears of it, too.
_TOLD = {
    "unlinked": "audit file was removed, and is put back whole: find out who did it",
    "replaced": "audit file was moved away or replaced, and a new one is begun: find out who did it",
    "not-rotated": "audit file is full and no new one could be begun: it grows on",
}


class AuditLog:
    """The chain in DIRECTORY/DAEMON.jsonl. All methods are for the event loop's thread.

    The file is 0640 and belongs to `group` where that exists and this process may give it away. One that has
    reached `max_file_bytes` is kept under another name, and the chain goes on in a new one.
    """

    def __init__(
        self,
        directory: Path,
        *,
        group: str | None,
        daemon: str = "signer",
        max_file_bytes: int = MAX_FILE_BYTES,
    ) -> None:
        self._daemon = daemon
        self._file = AuditFile(directory, daemon, group, max_bytes=max_file_bytes)
        self._seq = 0
        self._hash = b""
        self._second = -1
        self._second_text = ""
        self._appended_bytes = 0
        self._lost = 0
        self._commits: deque[Commit] = deque()
        self._events: deque[tuple[str, OSError | None, Head]] = deque()  # from the thread, not yet on record
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Continues the chain of the file there is, or begins one, with a record that says so. The loop runs.

        Raises: LocalIOError where the file cannot be used. May block for as long as the disk does.
        """
        self._loop = asyncio.get_running_loop()
        try:
            opened = self._file.open()
        except OSError as error:
            why = f"{self._file.path} cannot be written: {os.strerror(error.errno or 0)}"
            advice = "look at the file, its directory and the room on its disk"
            raise LocalIOError(why, advice=advice) from None
        self._seq, self._hash = opened.head
        self._writer = Writer(self._file, opened.head, Told(self._finished, self._happened))
        self._writer.start()
        self._say_opened(opened)

    def append(self, members: str) -> None:
        """Adds a record: `members` as secretsd/audit/record.py makes them. Never blocks, never raises.

        On disk within 50 ms while the disk is well. Where too much waits for it, the record is lost and
        counted, and `trouble` says so.
        """
        if self._lost or self._is_full():
            self._lose()
        else:
            self._add(members)

    def commit(self, done: Callable[[OSError | None], None]) -> None:
        """Calls `done` on the loop with None when all appended so far is on disk, else with the error.

        Within 0.25 s and a little: a disk that takes longer is an error. While there is trouble `done` is
        called before this returns.
        """
        if (trouble := self.trouble) is not None:
            done(trouble)
            return
        commit = Commit(done, time.monotonic() + PATIENCE_S)
        self._commits.append(commit)
        self._writer.queue.append(commit)
        self._writer.appended()
        self._writer.hurry()
        if self._timer is None:
            self._expect_the_next()

    async def durable(self) -> None:
        """Returns when all that was appended is on disk; within 0.25 s and a little.

        Raises: OSError where it is not.
        """
        done: asyncio.Future[OSError | None] = self._loop.create_future()
        self.commit(lambda error: None if done.done() else done.set_result(error))
        if (error := await done) is not None:
            raise error

    @property
    def trouble(self) -> OSError | None:
        """Why what must be on record may not be done now: the disk fails or hangs, or records were lost."""
        if self._writer.error is not None:
            return self._writer.error
        if not self._writer.is_alive():
            return _ended()
        busy_since_s = self._writer.busy_since_s
        if busy_since_s and time.monotonic() - busy_since_s > PATIENCE_S:
            return _too_slow()
        if self._lost:
            return OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
        return None

    @property
    def last_number(self) -> int:
        """Of the record that was added last, whether it is on disk yet or not."""
        return self._seq

    @property
    def lost(self) -> int:
        """Records that did not fit into memory and that no record has told of yet."""
        return self._lost

    @property
    def path(self) -> Path:
        """Of the file that is written."""
        return self._file.path

    def resize(self, max_file_bytes: int) -> None:
        """How long files may become from now on."""
        self._file.max_bytes = max_file_bytes

    def look(self) -> None:
        """Sees whether the file was taken away while nothing is written."""
        self._writer.look()

    def close(self) -> None:
        """Writes what there is, for at most 5 s, and lets go of the file."""
        if self._timer is not None:
            self._timer.cancel()
        self._say_events()
        if self._lost:
            self._say_lost()
        if self._writer.close(_CLOSE_PATIENCE_S):
            self._file.close()
        # Behind what the thread has told the loop and the loop has not yet called.
        self._loop.call_soon(self._give_up)

    def _add(self, members: str) -> None:
        second, rest_ns = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second, self._second_text = second, whole_second(second)
        self._seq += 1
        body = f'{{"seq":{self._seq},"time":"{self._second_text}{rest_ns // 1000:06d}Z",{members}'.encode()
        self._hash, line = seal(self._hash, body)
        self._appended_bytes += len(line)
        self._writer.queue.append(line)
        self._writer.appended()

    def _is_full(self) -> bool:
        writer = self._writer
        return (
            len(writer.queue) >= MAX_WAITING_RECORDS
            or self._appended_bytes - writer.taken_bytes >= MAX_WAITING_BYTES
        )

    def _lose(self) -> None:
        if not self._lost:
            self._loop.call_later(PATIENCE_S, self._tell_lost)
        self._lost += 1

    def _tell_lost(self) -> None:
        """Adds the record that tells how many were lost, once there is room for many again."""
        is_crowded = self._is_full() or len(self._writer.queue) > MAX_WAITING_RECORDS // 2
        if self._lost and (is_crowded or self._writer.error is not None):
            self._loop.call_later(PATIENCE_S, self._tell_lost)
        elif self._lost:
            self._say_lost()

    def _say_lost(self) -> None:
        self._add(record.event("recovery", reason="too-slow", details=self._take_lost()))

    def _take_lost(self) -> dict[str, object]:
        lost, self._lost = self._lost, 0
        return {"lost": lost} if lost else {}

    def _say_opened(self, opened: Opened) -> None:
        if opened.torn:  # the first record behind it must be the one that names it
            torn = {"offset": opened.torn.offset, "bytes": opened.torn.bytes}
            self._add(record.event("recovery", reason="torn", details={"torn": torn}))
        where: dict[str, object] = {
            "daemon": self._daemon,
            "host": self._file.host,
            "boot": self._file.boot,
            "pid": os.getpid(),
        }
        aside: dict[str, object] = {"aside": opened.aside} if opened.aside else {}
        self._add(record.event("open", details=where | aside))

    def _finished(self, commits: Sequence[Commit], error: OSError | None) -> None:
        self._loop.call_soon_threadsafe(self._answer, deque(commits), error)

    def _answer(self, waiting: deque[Commit], error: OSError | None) -> None:
        if error is not None:  # whoever came meanwhile waits for the same disk
            waiting += self._commits
            self._commits.clear()
        self._finish(waiting, error)

    def _finish(self, waiting: deque[Commit], error: OSError | None) -> None:
        try:
            while waiting:
                waiting.popleft().finish(error)
        finally:
            if waiting:  # one of them raised: the loop reports it, and the others have their turn
                self._loop.call_soon(self._finish, waiting, error)

    def _happened(self, what: str, error: OSError | None, head: Head) -> None:
        self._events.append((what, error, head))
        self._loop.call_soon_threadsafe(self._say_events)

    def _say_events(self) -> None:
        while self._events:
            self._say_happened(*self._events.popleft())

    def _say_happened(self, what: str, error: OSError | None, head: Head) -> None:
        why: dict[str, object] = (
            {} if error is None else {"error": errno.errorcode.get(error.errno or 0, "unknown")}
        )
        details = {"after": head.seq, **why, **self._take_lost()}
        self._add(record.event("recovery", reason=what, details=details))
        if what in _TOLD:
            log.warning(_TOLD[what], extra={"file": str(self.path), **details})

    def _give_up(self) -> None:
        self._finish(self._commits, _ended())

    def _expire(self) -> None:
        """Ends the waiting of those whom the disk did not serve in time, or will not."""
        self._timer = None
        now_s, is_known = time.monotonic(), self.trouble is not None
        overdue: deque[Commit] = deque()
        while self._commits and (
            is_known or self._commits[0].done is None or self._commits[0].deadline_s <= now_s
        ):
            overdue.append(self._commits.popleft())
        if self._commits:
            self._expect_the_next()
        self._finish(overdue, _too_slow())

    def _expect_the_next(self) -> None:
        """Sets the timer for the first who waits, or for when the disk is known to be too slow for all."""
        busy_since_s, now_s = self._writer.busy_since_s, time.monotonic()
        known_s = busy_since_s + PATIENCE_S + _MOMENT_S if busy_since_s else math.inf
        when_s = min(self._commits[0].deadline_s, known_s)
        self._timer = self._loop.call_later(max(_MOMENT_S, when_s - now_s), self._expire)


def _ended() -> OSError:
    return OSError(errno.EPIPE, "the audit log is no longer written")


def _too_slow() -> OSError:
    return TimeoutError(errno.ETIMEDOUT, f"the disk did not answer within {PATIENCE_S:g} s")
