"""Which sealed copies this host has, and when the next is made. Sees headers, never key or secret."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from secretsd.config.models import Bundle
from secretsd.errors import Failure
from secretsd.model import Candidate, SealedHeader
from secretsd.refresh.files import published
from secretsd.refresh.messages import SealOrder
from secretsd.refresh.sealed import choice, store
from secretsd.refresh.state import BundleState, Changes
from secretsd.refresh.trail import Trail

log = logging.getLogger(__name__)


class Sealing:
    """The copies on the disk as the conductor knows them: each bundle's are in its state."""

    def __init__(
        self,
        state_dir: Path,
        runtime_dir: Path,
        states: Mapping[str, BundleState],
        changes: Changes,
        trail: Trail,
    ) -> None:
        self._state_dir = state_dir
        self._runtime_dir = runtime_dir
        self._states = states
        self._changes = changes
        self._trail = trail
        self._sealed: set[str] = set()  # since this start, which may have brought another key
        self._lock = asyncio.Lock()

    def open(self, bundles: Mapping[str, Bundle]) -> None:
        """Takes over the copies of the last run, and removes those that nobody wants any more."""
        try:
            found = store.bundles(self._state_dir)
        except OSError as error:
            log.error("sealed copies cannot be read", extra={"reason": os.strerror(error.errno or 0)})
            return
        for name in found:
            state = self._states.get(name)
            is_wanted = name in bundles and bundles[name].sealed_copy is not None
            if state is None or not is_wanted or _was_withdrawn(state):
                self._remove(name)
            else:
                self._take_on(name, state)

    def _take_on(self, name: str, state: BundleState) -> None:
        """What one bundle has; where that cannot be read, the others have theirs all the same."""
        try:
            state.sealed = store.headers(self._state_dir, name)
        except OSError as error:
            fields = {"bundle": name, "reason": os.strerror(error.errno or 0)}
            log.error("sealed copies cannot be read", extra=fields)
        # Where the journal was lost: no number is given twice.
        state.given = max(state.given, max(state.sealed, default=0))

    def adopt(self, bundles: Mapping[str, Bundle]) -> None:
        """Removes what a new configuration does not want any more."""
        for name, bundle in bundles.items():
            if bundle.sealed_copy is None and name in self._states:
                self.remove(name)

    def order(
        self, name: str, bundle: Bundle, candidate: Candidate, generation: int | None
    ) -> SealOrder | None:
        """What is to be sealed once the candidate is shown as `generation`; None for that: it is not."""
        if bundle.sealed_copy is None:
            return None
        if generation is not None:
            return SealOrder(generation)
        state = self._states[name]
        if state.record is None:
            return None
        made_as, max_age_s = state.record.made_as, bundle.sealed_copy.max_age_s
        header = state.sealed.get(made_as)
        is_due = header is None or choice.is_to_be_renewed(header, max_age_s=max_age_s, now=time.time())
        if candidate.digest == state.record.digest:
            is_current = name in self._sealed and choice.is_current(header, candidate.versions)
            return SealOrder(made_as) if is_due or not is_current else None
        # What an operator holds was not fetched: only a copy that is there can be told that it still holds.
        return SealOrder(made_as, is_renewal=True) if is_due and header is not None else None

    async def on_sealed(self, header: SealedHeader, bundles: Mapping[str, Bundle]) -> None:
        """A worker has made a copy; those that no rollback could show any more go."""
        name = header.bundle
        self._trail.sealed(header)
        state = self._states.get(name)
        if state is None or name not in bundles or bundles[name].sealed_copy is None:
            self._remove(name)  # a reload has let go of it meanwhile
            return
        self._sealed.add(name)
        if state.sealed_problem is not None:
            log.info("sealed copy was made", extra={"bundle": name})
        state.sealed_problem = None
        kept = choice.kept(published.kept_records(self._runtime_dir, name), state.record)
        kept |= {header.generation}
        state.sealed = {number: each for number, each in state.sealed.items() if number in kept}
        state.sealed = {**state.sealed, header.generation: header}
        self._changes.announce()
        async with self._lock:
            try:
                await asyncio.to_thread(store.keep_only, self._state_dir, name, kept)
            except OSError as error:
                _not_removed(name, error)

    def on_not_sealed(self, name: str, failure: Failure) -> None:
        state = self._states.get(name)
        if state is not None and state.sealed_problem != failure:
            if state.sealed_problem is None or state.sealed_problem.code != failure.code:
                self._trail.not_sealed(name, failure)
            state.sealed_problem = failure
            fields = {"bundle": name, "code": failure.code}
            log.error("not sealed", extra={**fields, "reason": failure.message, "advice": failure.advice})
            self._changes.announce()

    def remove(self, name: str) -> None:
        """Nothing of the bundle is to be published from a copy any more."""
        state = self._states[name]
        if state.sealed:
            self._remove(name)
        state.sealed, state.sealed_problem = {}, None
        self._sealed.discard(name)

    def _remove(self, name: str) -> None:
        log.info("sealed copies removed", extra={"bundle": name})
        try:
            store.keep_only(self._state_dir, name, ())
        except OSError as error:
            _not_removed(name, error)

    def warnings(self) -> list[str]:
        """A sentence for each bundle whose copy could not be made."""
        problems = (state.sealed_problem for state in self._states.values())
        return [f"{each.message}; {each.advice}" for each in problems if each is not None]


def _was_withdrawn(state: BundleState) -> bool:
    """Whether the last that was done to the bundle was to take it away: a crash may have left its copies."""
    return state.entry.shown == 0 and bool(state.entry.history)


def _not_removed(name: str, error: OSError) -> None:
    reason = os.strerror(error.errno or 0)
    log.error("sealed copies were not removed", extra={"bundle": name, "reason": reason})
