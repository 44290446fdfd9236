"""The conductor: decides when, starts workers, and does what the plan says. It never sees a secret."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import assert_never

from secretsd.config.load import load_checked
from secretsd.config.models import Config
from secretsd.errors import ConfigError, Failure, LocalIOError
from secretsd.model import Candidate, PublishRecord, Rejected
from secretsd.refresh import journal, published
from secretsd.refresh.delivery import Deliveries
from secretsd.refresh.memory import MemoryKind, memory_kind
from secretsd.refresh.plan import (
    KeepPublished,
    KeepStale,
    NotifyUnit,
    PublishBundle,
    RemoveBundle,
    Step,
    plan,
)
from secretsd.refresh.publish import io_failure
from secretsd.refresh.rounds import Result, Rounds
from secretsd.refresh.schedule import next_due
from secretsd.refresh.state import BundleState, Changes
from secretsd.refresh.workers import Workers

log = logging.getLogger(__name__)

FIRST_ROUND_S = 10.0  # READY comes after this long even if a source still hangs


class _Rehearsal:
    """A round's listener that publishes nothing and keeps what would be."""

    def __init__(self) -> None:
        self.results: dict[str, Candidate | Rejected] = {}

    async def on_prepared(self, _candidate: Candidate) -> None:
        return None

    def on_published(self, _record: PublishRecord) -> None:
        raise AssertionError("a rehearsal publishes nothing")

    async def on_ended(self, name: str, result: Result) -> None:
        self.results[name] = Rejected(name, result) if isinstance(result, tuple) else result

    def shown(self, _name: str) -> None:
        return None


class Conductor:
    """Owns every bundle's state; all methods run on one event loop."""

    def __init__(self, config_path: Path, config: Config) -> None:
        self.config_path = config_path
        self.config = config
        self.states: dict[str, BundleState] = {}
        self.changes = Changes()
        self.ready = False
        self.journal_problem = ""
        self.memory = MemoryKind("unknown", is_memory=False)
        self._workers = Workers()
        self._rounds = Rounds(self._workers)
        self._deliveries = Deliveries(
            self.states, self.changes, self._record_loaded, self._plan_notifications
        )
        self._requested: set[str] = set()
        self._wake = asyncio.Event()
        self._journal_lock = asyncio.Lock()
        self._journal_dirty = False
        self._runtime_lock: int | None = None  # held open until the process ends

    # --- starting and stopping -------------------------------------------------------------------------

    def open(self) -> None:
        """Takes over what a former run left. Raises: LocalIOError."""
        runtime_dir = self._runtime_dir
        published.prepare(runtime_dir)
        self._runtime_lock = published.lock(runtime_dir)
        with contextlib.suppress(OSError):
            # systemd makes it for the service; what goes wrong here shows when the journal is written.
            Path(self.config.daemon.state_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.memory = memory_kind(runtime_dir)
        if self.memory.warning:
            log.warning("runtime directory is not safe", extra={"reason": self.memory.warning})
        entries = self._read_journal()
        try:
            removed = published.sweep(runtime_dir)
            present = published.bundles_present(runtime_dir)
        except OSError as error:
            failure = io_failure(error, "cannot take over what is published")
            raise LocalIOError(failure.message, advice=failure.advice) from None
        if removed:
            log.info("leftovers of an interrupted publish removed", extra={"entries": removed})
        for name in present | self.config.bundles.keys():
            self.states[name] = self._taken_over(name, entries.get(name, journal.Entry()))

    def _read_journal(self) -> dict[str, journal.Entry]:
        try:
            return journal.read(Path(self.config.daemon.state_dir))
        except LocalIOError as error:
            self.journal_problem = f"{error}; {error.advice}"
            log.error("journal is unreadable", extra={"reason": str(error), "advice": error.advice})
            return {}

    def _taken_over(self, name: str, entry: journal.Entry) -> BundleState:
        record = self.shown(name)
        highest = max(entry.generation, published.highest_generation(self._runtime_dir, name))
        return BundleState(
            record=record,
            entry=replace(entry, generation=highest),
            versions=record.versions if record else (),
        )

    async def run(self) -> None:
        """Refreshes whatever is due, for ever."""
        while True:
            names = (self._due() | self._requested) & self.config.bundles.keys()
            self._requested = set()
            self._wake.clear()
            if names:
                await self._round(names)
            self._remove_unwanted()
            await self._sleep()

    async def stop(self) -> None:
        await self._deliveries.stop()
        await self._workers.close()
        if self._runtime_lock is not None:
            os.close(self._runtime_lock)
            self._runtime_lock = None

    def be_ready(self) -> None:
        """From now on units are told: systemd has been told READY before."""
        self.ready = True
        for name in self.states:
            self._plan_notifications(name)
        self.changes.announce()

    # --- what others ask for ---------------------------------------------------------------------------

    def request_refresh(self, names: Collection[str]) -> dict[str, int]:
        """Asks for a refresh that begins after this call.

        Returns the number that `BundleState.ended` has reached when it has ended. Requests that come
        together, or while a round is under way, become one round.
        """
        self._requested |= set(names)
        self._wake.set()
        return {name: self.states[name].begun + 1 for name in names}

    async def reload_configuration(self) -> None:
        """Builds the new configuration whole, then lets the old one go.

        Raises: ConfigError; the running configuration then stays.
        """
        config = await asyncio.to_thread(load_checked, self.config_path)
        fixed = {"runtime_dir", "state_dir", "control_socket"}
        changed = sorted(k for k in fixed if getattr(config.daemon, k) != getattr(self.config.daemon, k))
        if changed:
            raise ConfigError(
                [f"{self.config_path}: {', '.join(changed)} changed: restart secretsd for that"]
            )
        self.config = config
        for name in config.bundles.keys() - self.states.keys():
            self.states[name] = self._taken_over(name, journal.Entry())
        self.changes.announce()

    def hurry_deliveries(self, names: Collection[str]) -> None:
        """Tells units now that would be told later."""
        for name in names:
            self._deliveries.hurry(name)
            self._plan_notifications(name)

    async def dry_run(self, names: Collection[str]) -> tuple[Step, ...]:
        """What a refresh of `names` would do. Fetches, publishes nothing, tells nobody, changes no state."""
        config = self.config
        rehearsal = _Rehearsal()
        await self._rounds.run(config, names, rehearsal)
        observed = {
            name: self.states[name].observed(result=rehearsal.results[name], intact=self._is_intact(name))
            for name in names
        }
        return plan({name: config.bundles[name] for name in names}, observed, time.monotonic())

    async def acknowledge(self, bundle: str, generation: int) -> bool:
        """A bot says that it has loaded `generation`; False where that is not what is published."""
        state = self.states[bundle]
        if state.record is None or state.record.generation != generation:
            return False
        for entry in self.config.bundles[bundle].on_change:
            if entry.require_ack:
                await self._record_loaded(bundle, entry.unit, generation)
        return True

    # --- a round ---------------------------------------------------------------------------------------

    async def _round(self, names: set[str]) -> None:
        for name in names:
            self.states[name].begun += 1
        await self._rounds.run(self.config, sorted(names), self)
        if self._journal_dirty:
            await self._write_journal()

    async def on_prepared(self, candidate: Candidate) -> int | None:
        """As rounds.Listener."""
        name = candidate.bundle
        if name not in self.config.bundles:
            return None
        for step in self._plan(name, candidate):
            match step:
                case PublishBundle(generation=generation, reason=reason):
                    log.info("publishing", extra={"bundle": name, "generation": generation, "reason": reason})
                    state = self.states[name]
                    state.entry = replace(state.entry, generation=generation)
                    await self._write_journal()
                    return generation
                case KeepPublished() | KeepStale() | RemoveBundle() | NotifyUnit():
                    pass
                case _:
                    assert_never(step)
        return None

    def on_published(self, record: PublishRecord) -> None:
        """As rounds.Listener."""
        log.info("published", extra={"bundle": record.bundle, "generation": record.generation})
        self.states[record.bundle].record = record

    def shown(self, name: str) -> PublishRecord | None:
        """As rounds.Listener."""
        record = published.read_record(self._runtime_dir, name)
        # Who published it may have been stopped before it read the clock. Now is late enough: a unit
        # that has not loaded this generation is rather told twice than never.
        return replace(record, published_monotonic=time.monotonic()) if record else None

    async def on_ended(self, name: str, result: Result) -> None:
        """As rounds.Listener."""
        state = self.states[name]
        state.ended = state.begun
        bundle = self.config.bundles.get(name)
        if bundle is None:
            return  # a reload has just let go of it
        if isinstance(result, tuple):
            self._on_failure(name, result)
        else:
            self._report_ignored(name, result)
            state.confirm(result, wall=time.time(), monotonic=time.monotonic())
        state.next_due = next_due(
            now=time.monotonic(),
            interval_s=bundle.refresh_interval_s or self.config.daemon.refresh_interval_s,
            jitter_s=self.config.daemon.refresh_jitter_s,
            failures=state.failures,
            attempts=state.failed_attempts,
            dice=random.random(),
        )
        self.changes.announce()
        self._plan_notifications(name)

    def _on_failure(self, name: str, failures: tuple[Failure, ...]) -> None:
        state = self.states[name]
        if failures != state.failures:
            for failure in failures:
                fields = {"bundle": name, "class": failure.failure_class.value, "code": failure.code}
                log.warning(
                    "bundle keeps its last good generation",
                    extra={**fields, "reason": failure.message, "advice": failure.advice},
                )
        state.fail(failures, wall=time.time())
        for step in self._plan(name, Rejected(name, failures)):
            if isinstance(step, RemoveBundle):
                self._remove(name, step.reason)

    def _report_ignored(self, name: str, candidate: Candidate) -> None:
        if candidate.ignored != self.states[name].ignored:
            for secret, keys in candidate.ignored.items():
                fields = {"bundle": name, "secret": secret, "keys": ", ".join(keys)}
                log.info("keys that the bundle does not name are not published", extra=fields)

    # --- steps -----------------------------------------------------------------------------------------

    def _plan(self, name: str, result: Candidate | Rejected | None) -> tuple[Step, ...]:
        seen = self.states[name].observed(result=result, intact=result is None or self._is_intact(name))
        return plan({name: self.config.bundles[name]}, {name: seen}, time.monotonic())

    def _is_intact(self, name: str) -> bool:
        record = self.states[name].record
        return record is None or published.is_intact(self._runtime_dir, record)

    def _plan_notifications(self, name: str) -> None:
        if not self.ready or name not in self.config.bundles:
            return
        for step in self._plan(name, None):
            if isinstance(step, NotifyUnit):
                self._deliveries.start(step, self.config)

    async def _record_loaded(self, name: str, unit: str, generation: int) -> None:
        state = self.states.get(name)
        if state is None:
            return  # a reload has just let go of it
        state.entry = replace(state.entry, loaded={**state.entry.loaded, unit: generation})
        await self._write_journal()
        self.changes.announce()

    def _remove_unwanted(self) -> None:
        unwanted = {name: self.states[name] for name in self.states.keys() - self.config.bundles.keys()}
        observed = {name: state.observed(result=None, intact=True) for name, state in unwanted.items()}
        for step in plan({}, observed, time.monotonic()):
            # What could not be removed stays known, and is tried again after the next round.
            if isinstance(step, RemoveBundle) and self._remove(step.bundle, step.reason):
                self.states.pop(step.bundle)
                self._journal_dirty = True
                self.changes.announce()

    def _remove(self, name: str, reason: str) -> bool:
        """Whether the bundle is gone."""
        state = self.states[name]
        try:
            published.remove(self._runtime_dir, name)
        except OSError as error:
            failure = io_failure(error, f"cannot remove bundle {name}")
            log.error("bundle was not removed", extra={"bundle": name, "reason": failure.message})
            return False
        if state.record is not None:
            log.warning("bundle removed", extra={"bundle": name, "reason": reason})
        state.record = None
        return True

    async def _write_journal(self) -> None:
        # Shielded: a cancelled caller must not let go of the lock while a thread still writes the file.
        await asyncio.shield(asyncio.create_task(self._write_journal_alone()))

    async def _write_journal_alone(self) -> None:
        async with self._journal_lock:
            self._journal_dirty = False
            entries = {name: state.entry for name, state in self.states.items()}
            try:
                await asyncio.to_thread(journal.write, Path(self.config.daemon.state_dir), entries)
            except LocalIOError as error:
                self.journal_problem = f"{error}; {error.advice}"
                log.error("journal was not written", extra={"reason": str(error), "advice": error.advice})
            else:
                self.journal_problem = ""

    # --- time ------------------------------------------------------------------------------------------

    def _due(self) -> set[str]:
        now = time.monotonic()
        return {name for name, state in self.states.items() if state.next_due <= now}

    async def _sleep(self) -> None:
        dues = [state.next_due for name, state in self.states.items() if name in self.config.bundles]
        delay_s = max(0.0, min(dues) - time.monotonic()) if dues else None
        try:
            async with asyncio.timeout(delay_s):
                await self._wake.wait()
        except TimeoutError:
            pass

    @property
    def _runtime_dir(self) -> Path:
        return Path(self.config.daemon.runtime_dir)
