"""Has a daemon's detector judge soon after something was noted, tells what it finds, and keeps its memory.

Nothing ticks while nothing is used.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from secretsd.audit import record
from secretsd.config.unusual import Unusual
from secretsd.errors import LocalIOError
from secretsd.unusual import book, memory
from secretsd.unusual.detector import Detector
from secretsd.unusual.findings import ACTION, Finding, Thing, sentence, told
from secretsd.unusual.uses import Uses

log = logging.getLogger(__name__)

_JUDGE_S = 1.0  # after the first use: those that come together are judged together
_SAVE_S = 10.0  # between two writes
_PATIENCE_S = 2.0  # for a write under way, at the end


class Sentry:
    """Of one daemon. All methods are for the loop's thread; `directory` is where the daemon keeps its state.

    `write` adds members to the audit trail, `alert` hears of each finding.
    """

    def __init__(
        self,
        directory: Path,
        settings: Unusual,
        *,
        write: Callable[[str], None],
        alert: Callable[[Finding], None],
    ) -> None:
        self.detector = Detector(settings, self._wake)
        self._directory = directory
        self._write, self._alert = write, alert
        self._born = time.monotonic()  # the moment at which the memory's age would be 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0  # kept beside it: where no time is left, uvloop gives a handle that has none
        self._saving: asyncio.Task[None] | None = None
        self._next_save = float("-inf")
        self._is_unsaved = False  # the last write failed

    def open(self, settings: Unusual, things: Iterable[Thing]) -> None:
        """Takes over what a former run has learned. Blocks for the disk, once."""
        learned, why = None, "missing"
        try:
            learned = book.read(self._directory, wall=time.time())
        except LocalIOError as error:
            why = "unreadable"
            fields = {"reason": str(error), "advice": error.advice}
            log.warning("who uses what is learned anew", extra=fields)
        if learned is None:
            # On record: whoever removes the file would else hide what comes next.
            self._write(record.event(ACTION, reason="learning", details={"why": why}))
            learned = Uses(), 0.0
        self.detector.uses, age_s = learned
        self._born = time.monotonic() - age_s
        self.configure(settings, things)

    def configure(self, settings: Unusual, things: Iterable[Thing]) -> None:
        """A configuration is in force. What was learned stays."""
        self.detector.configure(settings, things, self._age_s)
        if self.detector.uses.has_changed:
            self._wake()

    async def close(self) -> None:
        """Judges what there is, and saves. A disk that hangs holds it up for 4 s at most."""
        await self._wait_for_the_disk()
        if self._timer is not None:
            self._timer.cancel()
        self._judge()
        if self._saving is None:
            self._saving = asyncio.get_running_loop().create_task(self._save())
            await self._wait_for_the_disk()
        if self._timer is not None:
            self._timer.cancel()

    async def _wait_for_the_disk(self) -> None:
        if self._saving is not None:
            await asyncio.wait({self._saving}, timeout=_PATIENCE_S)

    @property
    def _age_s(self) -> float:
        return time.monotonic() - self._born

    def _wake(self) -> None:
        self._look_in(_JUDGE_S)

    def _look_in(self, seconds: float) -> None:
        """At the latest; a look that comes earlier is enough."""
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        self._timer, self._timer_at = loop.call_at(when, self._look), when

    def _look(self) -> None:
        self._timer = None
        self._judge()
        if self.detector.pause_s is not None:
            self._look_in(max(_JUDGE_S, self.detector.pause_s))
        if self.detector.uses.has_changed and self._saving is None:
            now = time.monotonic()
            if now < self._next_save:
                self._look_in(self._next_save - now)
                return
            self._next_save = now + _SAVE_S
            self._saving = asyncio.get_running_loop().create_task(self._save())

    def _judge(self) -> None:
        for finding in self.detector.judge(self._age_s):
            fields = {"kind": finding.kind, "what": sentence(finding)}
            log.warning("unusual access", extra=fields)
            self._write(told(finding))
            self._alert(finding)

    def _document(self) -> dict[str, object]:
        return memory.encoded(self.detector.uses, age_s=self._age_s, wall=time.time())

    async def _save(self) -> None:
        """Not in the loop's thread: a disk that hangs must hold up nobody."""
        self.detector.uses.has_changed = False
        try:
            await asyncio.to_thread(book.write, self._directory, self._document())
        except LocalIOError as error:
            self.detector.uses.has_changed = True
            self._not_saved(error)
        else:
            self._is_unsaved = False
        self._saving = None
        if self.detector.uses.has_changed:
            self._wake()

    def _not_saved(self, error: LocalIOError) -> None:
        if not self._is_unsaved:
            log.error("who uses what is not kept", extra={"reason": str(error), "advice": error.advice})
        self._is_unsaved = True
