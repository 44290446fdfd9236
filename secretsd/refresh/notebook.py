"""The journal in use: kept by the event loop, written by a thread, one write at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from secretsd.errors import LocalIOError
from secretsd.model import Hold, PublishRecord, Showing
from secretsd.refresh import journal
from secretsd.refresh.journal import Entry
from secretsd.refresh.plan import carry
from secretsd.refresh.state import BundleState
from secretsd.refresh.units.gates import recent

log = logging.getLogger(__name__)

_LONGEST_HISTORY = 20  # generations of a bundle
_SOON_S = 0.2
_RETRY_S = 5.0  # after a write that failed: a full disk is emptied without anybody telling us


def shown_earlier(record: PublishRecord) -> Showing:
    """A line of the history for what nobody remembers to have published."""
    return Showing(
        generation=record.generation,
        published_at=record.published_at,
        reason="shown by an earlier run of secretsd",
        versions=record.versions,
        copy_of=record.copy_of,
        published_monotonic=record.published_monotonic,
    )


class Notebook:
    """What the journal holds of each bundle, also of those that the configuration has let go of.

    A number that was given once is never given again: a bundle that comes back goes on where it was.
    """

    def __init__(self, state_dir: Path, states: Mapping[str, BundleState]) -> None:
        self.problem = ""  # why the journal could not be written last; empty when all is well
        self.loss = ""  # why the journal could not be read at the start, and what that means until the next
        self._state_dir = state_dir
        self._states = states
        self._former: dict[str, Entry] = {}
        self._lock = asyncio.Lock()
        self._is_dirty = False
        self._writer: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Reads what the last run wrote."""
        try:
            self._former = journal.read(self._state_dir)
        except LocalIOError as error:
            self.loss = f"{error}; {error.advice}"
            log.error("journal is unreadable", extra={"reason": str(error), "advice": error.advice})
            with contextlib.suppress(OSError):
                journal.set_aside(self._state_dir)

    def take(self, name: str) -> Entry:
        """What is known of a bundle that is taken on."""
        return self._former.pop(name, Entry())

    def last_shown(self) -> dict[str, int]:
        """What each bundle that was not taken on yet has shown last; 0 where it was taken away."""
        return {name: entry.shown for name, entry in self._former.items()}

    def let_go(self, name: str, entry: Entry) -> None:
        """Keeps what is known of a bundle that is no longer configured; an operator's word ends with it."""
        self._former[name] = replace(entry, hold=None)

    def note_shown(self, name: str, record: PublishRecord) -> None:
        """Adds to the history what is shown now, and why; on the disk a moment later.

        What a crash loses in between, the next start sees in the runtime directory.
        """
        state = self._states[name]
        intent = state.intent
        showing = shown_earlier(record)
        if intent is not None and intent.generation == record.generation:
            showing = replace(showing, reason=intent.reason, by=intent.by)
        former = (each for each in state.entry.history if each.generation != record.generation)
        history = (*former, showing)[-_LONGEST_HISTORY:]
        state.entry = replace(state.entry, shown=record.generation, history=history)
        self._write_soon()

    async def note_removed(self, name: str) -> None:
        """Returns when it is durable that the bundle is to show nothing.

        An operator's word stays: when the source grants the secret again, it is no other version that comes.
        """
        state = self._states[name]
        if state.entry.shown != 0:
            state.entry = replace(state.entry, shown=0)
            await self.write()

    async def hold(self, name: str, hold: Hold | None) -> None:
        """Returns when an operator's word, or its end, is durable."""
        state = self._states[name]
        if state.entry.hold != hold:
            state.entry = replace(state.entry, hold=hold)
            await self.write()

    async def reserve(self, name: str, generation: int, neighbours: Collection[str]) -> None:
        """Returns when it is durable that `generation` may be shown as the bundle's.

        The neighbours of the same round get their next number with the same write.
        """
        state = self._states[name]
        state.given = generation
        if state.entry.generation >= generation:
            return
        for neighbour in {name, *neighbours}:
            other = self._states[neighbour]
            reserved = max(other.entry.generation, other.given + (neighbour != name))
            other.entry = replace(other.entry, generation=reserved)
        await self.write()

    async def record_loaded(self, name: str, unit: str, generation: int) -> None:
        state = self._states[name]
        loaded = {**state.entry.loaded, unit: max(generation, state.entry.loaded.get(unit, 0))}
        failed = {other: number for other, number in state.entry.failed.items() if other != unit}
        state.entry = replace(state.entry, loaded=loaded, failed=failed)
        state.delivery(unit).loaded()
        await self.write()

    async def record_failed(self, name: str, unit: str, generation: int) -> None:
        state = self._states[name]
        if state.entry.failed.get(unit) != generation:
            state.entry = replace(state.entry, failed={**state.entry.failed, unit: generation})
            await self.write()

    async def record_restart(self, name: str, unit: str, at: float) -> None:
        """secretsd has restarted the unit at `at`, in seconds since the epoch."""
        state = self._states[name]
        moments = recent((*state.entry.restarts.get(unit, ()), at), at)
        state.entry = replace(state.entry, restarts={**state.entry.restarts, unit: moments})
        await self.write()

    async def carry(self, name: str, *, old: int, new: int) -> None:
        """What units made of generation `old` they have made of `new`, too: it has the same content."""
        state = self._states[name]
        loaded, failed = (carry(of, old=old, new=new) for of in (state.entry.loaded, state.entry.failed))
        if (loaded, failed) != (state.entry.loaded, state.entry.failed):
            state.entry = replace(state.entry, loaded=loaded, failed=failed)
            await self.write()

    async def write(self) -> None:
        # Shielded: a cancelled caller must not let go of the lock while a thread still writes the file.
        await asyncio.shield(asyncio.create_task(self._write()))

    def _write_soon(self) -> None:
        self._is_dirty = True
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_later(), name="writing the journal")

    async def _write_later(self) -> None:
        while self._is_dirty:
            # A round publishes many bundles, and what is written when a unit has loaded one holds all of it.
            await asyncio.sleep(_RETRY_S if self.problem else _SOON_S)
            if self._is_dirty:
                await self.write()

    async def close(self) -> None:
        """Returns when all that was noted is on the disk."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        if self._is_dirty:
            await self.write()
        if self._writer is not None:
            self._writer.cancel()  # the last write has failed, too, and would be tried again

    async def _write(self) -> None:
        async with self._lock:
            self._is_dirty = False
            entries = {**self._former, **{name: state.entry for name, state in self._states.items()}}
            try:
                await asyncio.to_thread(journal.write, self._state_dir, entries)
            except LocalIOError as error:
                self._note("journal was not written", error)
                self._write_soon()
            else:
                self.problem = ""

    def _note(self, event: str, error: LocalIOError) -> None:
        self.problem = f"{error}; {error.advice}"
        log.error(event, extra={"reason": str(error), "advice": error.advice})
