"""Showing bundles again from the daemon's own copies: what somebody altered, what an operator rolled back."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from secretsd.config.models import Bundle
from secretsd.errors import Failure
from secretsd.refresh.files import drift, tree
from secretsd.refresh.files.published import NO_COPY
from secretsd.refresh.notebook import Notebook
from secretsd.refresh.plan import ALTERED, ROLLED_BACK, Anew, RestoreBundle, plan
from secretsd.refresh.state import BundleState, Changes, Drift, Intent
from secretsd.refresh.trail import Trail

log = logging.getLogger(__name__)

# Somebody who alters a file again and again gets it back at once for a few times, then more and more slowly:
# each time is a worker and a generation.
_AT_ONCE = 20
_LONGEST_PAUSE_S = 60.0
_QUIET_S = 60.0

_LONGEST_RESTORE_S = 60.0  # far beyond a worker's deadline


@dataclass(frozen=True, slots=True)
class _Tries:
    """Restores of a bundle that failed in a row, and when the last one did (monotonic seconds)."""

    count: int
    at: float


class Restores:
    """Knows which bundles a worker publishes right now, so that no two workers ever show the same bundle."""

    def __init__(
        self,
        runtime_dir: Path,
        states: Mapping[str, BundleState],
        changes: Changes,
        notebook: Notebook,
        trail: Trail,
    ) -> None:
        self.publishing: set[str] = set()  # a round publishes them, or takes them away
        self._runtime_dir = runtime_dir
        self._states = states
        self._changes = changes
        self._notebook = notebook
        self._trail = trail
        self._needy: set[str] = set()
        self._under_way: set[str] = set()
        self._failed: dict[str, _Tries] = {}

    def due(self, bundles: Mapping[str, Bundle]) -> dict[str, RestoreBundle]:
        """What is to be shown again now, by bundle. Looks at every published file, opens none."""
        found = {}
        for name in bundles.keys() & self._states.keys() - self.publishing - self._under_way:
            state = self._states[name]
            is_altered = self.look(name)
            if not is_altered and state.entry.hold is None:
                continue
            now, seen = time.monotonic(), state.observed(result=None, intact=not is_altered)
            for step in plan({name: bundles[name]}, {name: seen}, now):
                if isinstance(step, RestoreBundle) and now >= self._begins_at(name, step, state.drift):
                    found[name] = step
        return found

    def _begins_at(self, name: str, step: RestoreBundle, seen: Drift) -> float:
        # An operator's rollback does not wait for whoever alters the files, only for this host to recover.
        tries = self._failed.get(name)
        retry_at = tries.at + min(_LONGEST_PAUSE_S, 2.0**tries.count) if tries else float("-inf")
        return max(retry_at, _not_before(seen)) if step.reason == ALTERED else retry_at

    def succeeded(self, name: str) -> None:
        self._failed.pop(name, None)

    def look(self, name: str) -> bool:
        """Whether the published files are no longer what was published; writes down what is new about it."""
        state = self._states[name]
        found = drift.differences(self._runtime_dir, state.record) if state.record is not None else ()
        seen = state.drift
        if found:
            seen.last = tuple(map(str, found))
        if seen.is_open != bool(found):
            seen.is_open = bool(found)
            if found:
                seen.count, seen.last_at = seen.count + 1, time.time()
                what = "; ".join(seen.last)
                log.warning("published files were altered", extra={"bundle": name, "what": what})
                self._trail.altered(name, seen.last)
            self._changes.announce()
        return bool(found)

    def directories(self) -> set[int]:
        """The inodes of what must be watched for every change to be heard; -1 for one that is gone."""
        wanted = {self._runtime_dir}
        for name, state in self._states.items():
            if state.record is not None:
                base = self._runtime_dir / tree.GENERATIONS / name / str(state.record.generation)
                wanted |= {base, *(base / PurePosixPath(file.path).parent for file in state.record.files)}
        return {_inode(directory) for directory in wanted}

    def is_unfinished(self) -> bool:
        """Whether something is still to be shown again."""
        waiting = any(state.drift.is_open or _is_to_roll_back(state) for state in self._states.values())
        return waiting or bool(self._under_way)

    async def begin(self, steps: Mapping[str, Anew]) -> None:
        """Their numbers are durable when this returns."""
        now = time.monotonic()
        self._under_way |= steps.keys()
        for name, step in steps.items():
            state = self._states[name]
            if state.drift.is_open:
                in_a_row = now - state.drift.repaired_at <= _QUIET_S
                state.drift.repairs = state.drift.repairs + 1 if in_a_row else 1
                state.drift.repaired_at = now
            reason = self.detailed(name, step.reason)
            by = state.entry.hold.by if step.reason == ROLLED_BACK and state.entry.hold else ""
            # A copy that was refused is tried again after each round of an outage, and mostly refused again.
            if state.refused_copy is None:
                log.info("restoring", extra={"bundle": name, "generation": step.generation, "reason": reason})
            state.intent = Intent(step.generation, reason, by)
            await self._notebook.reserve(name, step.generation, steps)

    def detailed(self, name: str, reason: str) -> str:
        """The reason, with what was altered where that is the reason."""
        seen = self._states[name].drift
        return f"{reason}: {'; '.join(seen.last)}" if seen.is_open and reason != ROLLED_BACK else reason

    async def on_failed(self, name: str, failure: Failure) -> None:
        """It is tried later, and later still; where there is no copy, its source must help."""
        reason = {"reason": failure.message, "advice": failure.advice}
        log.error("bundle was not restored", extra={"bundle": name, **reason})
        state, former = self._states[name], self._failed.get(name)
        self._failed[name] = _Tries(former.count + 1 if former else 0, time.monotonic())
        if failure not in state.failures:
            state.failures += (failure,)
        if failure.code == NO_COPY:
            if _is_to_roll_back(state):
                self._trail.released(name)
                await self._notebook.hold(name, None)  # what is not there any more cannot be gone back to
            self._needy.add(name)

    def take_needy(self) -> set[str]:
        """The bundles that only their source can mend, each once."""
        needy, self._needy = self._needy, set()
        return needy

    def end(self, names: Collection[str]) -> None:
        self._under_way -= set(names)
        self._changes.announce()

    def is_under_way(self, name: str) -> bool:
        return name in self._under_way

    def is_free(self, name: str) -> bool:
        """Whether no worker is about to show another generation of the bundle, or to take it away."""
        return name not in self.publishing and name not in self._under_way

    async def ended(self, name: str) -> None:
        """Returns when no restore of the bundle is under way."""
        await self._changes.until(lambda: name not in self._under_way, _LONGEST_RESTORE_S)

    async def settled(self, name: str) -> None:
        """Returns when no worker is about to show another generation of the bundle."""
        await self._changes.until(lambda: self.is_free(name), _LONGEST_RESTORE_S)


def _is_to_roll_back(state: BundleState) -> bool:
    hold, record = state.entry.hold, state.record
    return hold is not None and record is not None and hold.digest != record.digest


def _inode(directory: Path) -> int:
    try:
        return os.lstat(directory).st_ino
    except OSError:
        return -1


def _not_before(seen: Drift) -> float:
    """The monotonic time before which altered files are left as they are."""
    if seen.repairs < _AT_ONCE:
        return float("-inf")
    return seen.repaired_at + min(_LONGEST_PAUSE_S, 2.0 ** (seen.repairs - _AT_ONCE + 1))
