"""A sink's thread: reads on, sends, remembers; tries again where that fails. It never ends by itself."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from secretsd.audit import record
from secretsd.audit.chain import Head
from secretsd.errors import Failure, FailureClass
from secretsd.refresh.schedule import retry_delay
from secretsd.shipping.cursor import Cursor, CursorFile
from secretsd.shipping.follow import Follower
from secretsd.shipping.pieces import Piece
from secretsd.shipping.sinks.interface import Sink, SinkError

log = logging.getLogger("secretsd.shipping")

ANCHOR_EVERY_S = 60.0
_FIRST_RETRY_S, _LONGEST_RETRY_S = 2.0, 60.0
_GLANCE_BYTES = 4096  # holds the next record, if it is not an unusually long one


@dataclass(frozen=True, slots=True)
class ChainPlace:
    """Where a daemon writes its chain."""

    daemon: str
    directory: Path


@dataclass(slots=True)
class Counts:
    """Since the process began; written by the courier's thread alone."""

    records: int = 0
    refused: int = 0  # the sink will never take them
    missing: int = 0  # removed from this host before they could be sent
    flaws: int = 0  # pieces in which something did not fit: sent all the same
    anchors: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """What lies in the audit files behind what a sink has."""

    bytes: int = 0
    records: int = 0
    since_s: float | None = None  # when the oldest of them was made, in seconds since the epoch


class Route:
    """One chain on its way to one sink."""

    def __init__(self, place: ChainPlace, cursors: CursorFile) -> None:
        self.follower = Follower(place.directory, place.daemon)
        self.counts = Counts()
        self.waiting = Waiting()
        self.anchored: Head | None = None
        self.anchored_at_s: float | None = None  # in seconds since the epoch
        self.unanchored_since_s: float | None = None  # CLOCK_MONOTONIC, while an anchor is due and not made
        self.anchor_due_s = 0.0
        self.waiting_since_s: float | None = None  # CLOCK_MONOTONIC, when the first unsent record was seen
        self._cursors = cursors
        self.cursor = cursors.load()

    def look(self) -> None:
        """Sees what waits. Raises: OSError."""
        position = self.cursor.position
        waiting_bytes = self.follower.waiting_bytes(position)
        if not waiting_bytes:
            self.waiting = Waiting()
            return
        piece, last = self.follower.read(position, _GLANCE_BYTES), self.follower.latest()
        has, behind = position.head.seq if position else 0, last.seq if last else 0
        oldest = next((line for _, line in piece.lines()), b"") if piece else b""
        self.waiting = Waiting(waiting_bytes, max(0, behind - has), record.made_at_s(oldest))

    def save(self, cursor: Cursor) -> None:
        """Raises: SinkError, and the cursor is what it was: what cannot be noted is not sent on and on."""
        failure = None
        try:
            self._cursors.save(cursor)
            self.cursor = cursor
        except OSError as error:
            failure = _local(error)
        if failure is not None:
            raise SinkError(failure)


class Courier:
    """Brings all chains to `sink`. What it shows may be read from any thread."""

    def __init__(
        self,
        sink: Sink,
        places: Sequence[ChainPlace],
        state_dir: Path,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises: OSError where the cursors cannot be read."""
        self.sink = sink
        self.routes = [Route(place, CursorFile(state_dir, sink.name, place.daemon)) for place in places]
        self.failure: Failure | None = None
        self.failing_since_s: float | None = None
        self.busy_since_s: float | None = None  # while the sink is asked
        self.took_at_s: float | None = None  # the sink, something, last; in seconds since the epoch
        self._monotonic = monotonic
        self._attempts = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"to-{sink.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self, patience_s: float) -> None:
        """Ends after the call under way, or does not wait for it any longer: the cursor is safe as it is."""
        self._stop.set()
        self._thread.join(patience_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._stop.wait(self.round())
        for route in self.routes:
            route.follower.close()

    def round(self) -> float:
        """One attempt to bring everything. Returns in how many seconds the next one is due."""
        wait_s = self._bring_all()
        for route in self.routes:
            with contextlib.suppress(OSError):
                route.look()
        return wait_s

    def _bring_all(self) -> float:
        while True:
            has_more, failure, local = False, None, None
            for route in self.routes:
                try:
                    self._anchor(route)
                    has_more |= self._step(route)
                except SinkError as error:
                    failure = error.failure
                except OSError as error:  # one chain that cannot be read does not hold up the other
                    local = _local(error)
            if failure is not None:
                return self._failed(failure)
            if local is None:
                self._went_well()
            else:
                self._note_failure(local)
            if not has_more or self._stop.is_set():
                return self.sink.look_every_s

    def _step(self, route: Route) -> bool:
        """Sends one piece, if one is due. Returns whether there may be more at once."""
        cursor = route.cursor
        piece = route.follower.read(cursor.position, self.sink.limit_bytes, cursor.sending)
        if piece is None:
            route.waiting_since_s = None
            return False
        if not cursor.sending and not self._is_due(route, piece):
            return False
        if self.sink.keeps_pieces and cursor.sending != len(piece.data):
            route.save(replace(cursor, sending=len(piece.data)))
        with self._busy():
            sent = self.sink.send(route.follower.daemon, piece, cursor.receipt)
        since = _since(cursor, piece)
        route.save(Cursor(piece.upto(sent.records), 0, sent.receipt, since))
        self._note(route, piece, sent.records, sent.refused)
        return True

    def _is_due(self, route: Route, piece: Piece) -> bool:
        now_s = self._monotonic()
        if route.waiting_since_s is None:
            route.waiting_since_s = now_s
        is_finished = route.follower.is_finished(piece)
        if not self.sink.is_due(piece, now_s - route.waiting_since_s, is_finished=is_finished):
            return False
        route.waiting_since_s = None
        return True

    def _anchor(self, route: Route) -> None:
        now_s = self._monotonic()
        if now_s < route.anchor_due_s:
            return
        head = route.follower.latest()
        if head is not None and head.seq and head != route.anchored:
            if route.unanchored_since_s is None:
                route.unanchored_since_s = now_s
            with self._busy():
                self.sink.anchor(route.follower.daemon, head, time.time_ns())
            route.anchored, route.anchored_at_s, route.unanchored_since_s = head, time.time(), None
            route.counts.anchors += 1
        route.anchor_due_s = now_s + ANCHOR_EVERY_S

    def _note(self, route: Route, piece: Piece, records: int, refused: int) -> None:
        where = {"sink": self.sink.name, "chain": route.follower.daemon, "record": piece.first}
        route.counts.records += records
        route.counts.refused += refused
        route.counts.missing += piece.missing
        if piece.missing:
            extra = {**where, "missing": piece.missing}
            log.error("records of the audit chain were removed before they were shipped", extra=extra)
        if piece.flaw:
            route.counts.flaws += 1
            log.error(
                "the audit chain does not fit; it is shipped as it is", extra={**where, "why": piece.flaw}
            )
        if refused:
            log.error("the sink will never take these records", extra={**where, "refused": refused})

    @contextlib.contextmanager
    def _busy(self) -> Iterator[None]:
        self.busy_since_s = self._monotonic()
        try:
            yield
        finally:
            self.busy_since_s = None
        self.took_at_s = time.time()

    def _went_well(self) -> None:
        if self.failure is not None:
            log.info("records are shipped again", extra={"sink": self.sink.name})
        self.failure, self.failing_since_s, self._attempts = None, None, 0

    def _failed(self, failure: Failure) -> float:
        self._attempts += 1
        self._note_failure(failure)
        dice = random.random()
        return retry_delay(self._attempts, dice, first_s=_FIRST_RETRY_S, longest_s=_LONGEST_RETRY_S)

    def _note_failure(self, failure: Failure) -> None:
        if self.failure is None or self.failure.code != failure.code:
            where = {"sink": self.sink.name, "code": failure.code, "advice": failure.advice}
            log.warning(failure.message, extra=where)
        self.failure = failure
        if self.failing_since_s is None:
            self.failing_since_s = self._monotonic()


def _since(cursor: Cursor, piece: Piece) -> int:
    """Behind which record the sink will have all, when it has this piece, too."""
    if piece.flaw:
        return piece.head.seq
    goes_on = cursor.position is not None and piece.follows == cursor.position.head
    return cursor.since if goes_on else piece.follows.seq


def _local(error: OSError) -> Failure:
    return Failure(
        code="io",
        failure_class=FailureClass.IO,
        message=f"audit files or the shipper's own state cannot be used: {error.strerror} ({error.filename})",
        advice="The user secretsd-shipper must be in the group secretsd-audit; is the disk full?",
    )
