"""Every bundle's state, and the plan's steps done to it, as a round goes on."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import assert_never

from secretsd.config.cautions import cautions
from secretsd.config.models import Config
from secretsd.errors import Failure, LocalIOError
from secretsd.model import Candidate, PublishRecord, Rejected
from secretsd.refresh import published
from secretsd.refresh.delivery import Deliveries
from secretsd.refresh.notebook import Notebook
from secretsd.refresh.plan import (
    KeepPublished,
    KeepStale,
    NotifyUnit,
    PublishBundle,
    RemoveBundle,
    RepairBundle,
    Step,
    plan,
)
from secretsd.refresh.publish import io_failure
from secretsd.refresh.rounds import Result
from secretsd.refresh.schedule import next_due
from secretsd.refresh.state import BundleState, Changes

log = logging.getLogger(__name__)


class Bundles:
    """Owns the states; a rounds.Listener. All methods run on the conductor's event loop."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.states: dict[str, BundleState] = {}
        self.changes = Changes()
        self.notebook = Notebook(Path(config.daemon.state_dir), self.states)
        self.deliveries = Deliveries(self.states, self.changes, self.notebook, self.plan_notifications)
        self.ready = False  # before READY nobody is told
        self._flying: dict[str, frozenset[str]] = {}  # bundle -> those of its round
        self._repairs: dict[str, RepairBundle] = {}

    def open(self) -> None:
        """Takes over what a former run left. Raises: LocalIOError."""
        _warn_of(self.config)
        self.notebook.open()
        try:
            removed = published.sweep(self._runtime_dir)
            present = published.bundles_present(self._runtime_dir)
        except OSError as error:
            failure = io_failure(error, "cannot take over what is published")
            raise LocalIOError(failure.message, advice=failure.advice) from None
        if removed:
            log.info("leftovers of an interrupted publish removed", extra={"entries": removed})
        for name in present | self.config.bundles.keys():
            self._take_on(name)

    def adopt(self, config: Config) -> set[str]:
        """Lets go of the old configuration. Returns the bundles that are to be refreshed for that."""
        former, self.config = self.config, config
        _warn_of(config)
        for name in config.bundles.keys() - self.states.keys():
            self._take_on(name)
        self.changes.announce()
        return {
            name
            for name, bundle in config.bundles.items()
            if former.bundles.get(name) != bundle or former.sources != config.sources
        }

    def be_ready(self) -> None:
        """From now on units are told: systemd has been told READY before."""
        self.ready = True
        for name in self.states:
            self.plan_notifications(name)
        self.changes.announce()

    def _take_on(self, name: str) -> None:
        record, entry = self.shown(name), self.notebook.take(name)
        given = max(entry.generation, published.highest_generation(self._runtime_dir, name))
        self.states[name] = BundleState(
            record=record, entry=entry, given=given, versions=record.versions if record else ()
        )

    def remove_unwanted(self) -> None:
        """Takes away what the configuration no longer names; what a round works on waits for its end."""
        unwanted = self.states.keys() - self.config.bundles.keys() - self._flying.keys()
        observed = {name: self.states[name].observed(result=None, intact=True) for name in unwanted}
        for step in plan({}, observed, time.monotonic()):
            if isinstance(step, RemoveBundle) and self._remove(step.bundle, step.reason):
                self.notebook.let_go(step.bundle, self.states.pop(step.bundle).entry)
                self.changes.announce()

    async def acknowledge(self, bundle: str, generation: int) -> bool:
        """A bot says that it has loaded `generation`; False where that is not what is published."""
        state = self.states[bundle]
        if state.record is None or state.record.generation != generation:
            return False
        for entry in self.config.bundles[bundle].on_change:
            if entry.require_ack:
                await self.notebook.record_loaded(bundle, entry.unit, generation)
        self.changes.announce()
        return True

    def is_intact(self, name: str) -> bool:
        """Whether the bundle is published and every file still is what was published. Opens no file."""
        state = self.states.get(name)
        record = state.record if state else None
        return record is not None and published.is_intact(self._runtime_dir, record)

    # --- a round ---------------------------------------------------------------------------------------

    def begin(self, names: frozenset[str], *, dice: float) -> None:
        """A round of these bundles begins; `dice` keeps them together until the next."""
        for name in names:
            state = self.states[name]
            state.begun += 1
            state.dice = dice
            self._flying[name] = names

    def end(self, names: frozenset[str]) -> None:
        """Their round has ended: when each is due again counts from now."""
        now = time.monotonic()
        for name in names:
            del self._flying[name]
            if name in self.config.bundles:
                self.states[name].next_due = self._next_due(name, now)
        self.changes.announce()

    @property
    def flying(self) -> Collection[str]:
        """The bundles that a round works on now."""
        return self._flying.keys()

    async def take_repairs(self, names: frozenset[str]) -> Mapping[str, RepairBundle]:
        """What the plan wants repaired of these bundles; their new numbers are durable."""
        repairs = {name: self._repairs.pop(name) for name in names & self._repairs.keys()}
        for name, step in repairs.items():
            await self.notebook.reserve(name, step.generation, repairs)
        return repairs

    async def on_prepared(self, candidate: Candidate) -> int | None:
        """As rounds.Listener."""
        name = candidate.bundle
        if name not in self.config.bundles:
            return None
        for step in self._plan(name, candidate):
            match step:
                case PublishBundle(generation=generation, reason=reason):
                    log.info("publishing", extra={"bundle": name, "generation": generation, "reason": reason})
                    await self.notebook.reserve(name, generation, self._flying[name])
                    return generation
                case KeepPublished() | KeepStale() | RepairBundle() | RemoveBundle() | NotifyUnit():
                    pass
                case _:
                    assert_never(step)
        return None

    async def on_published(self, record: PublishRecord) -> None:
        """As rounds.Listener."""
        log.info("published", extra={"bundle": record.bundle, "generation": record.generation})
        state = self.states[record.bundle]
        former, state.record = state.record, record
        if former is not None and former.digest == record.digest:
            # The same content once more, over files that were altered: who has loaded it has loaded it.
            await self.notebook.carry(record.bundle, old=former.generation, new=record.generation)

    def shown(self, name: str) -> PublishRecord | None:
        """As rounds.Listener."""
        record = published.read_record(self._runtime_dir, name)
        # Who published it may have been stopped before it read the clock. Now is late enough: a unit
        # that has not loaded this generation is rather told twice than never.
        return replace(record, published_monotonic=time.monotonic()) if record else None

    def on_not_repaired(self, name: str, failure: Failure) -> None:
        """As rounds.Listener."""
        reason = {"reason": failure.message, "advice": failure.advice}
        log.error("bundle was not repaired", extra={"bundle": name, **reason})
        self.states[name].failures += (failure,)

    async def on_ended(self, name: str, result: Result) -> None:
        """As rounds.Listener."""
        state = self.states[name]
        state.ended = state.begun
        if name not in self.config.bundles:
            return  # a reload has just let go of it
        if isinstance(result, tuple):
            self._on_failure(name, result)
        else:
            self._report_ignored(name, result)
            state.confirm(result, wall=time.time(), monotonic=time.monotonic())
        self.changes.announce()
        self.plan_notifications(name)

    def _on_failure(self, name: str, failures: tuple[Failure, ...]) -> None:
        state = self.states[name]
        if failures != state.failures:
            for failure in failures:
                fields = {"bundle": name, "class": failure.failure_class.value, "code": failure.code}
                reasons = {"reason": failure.message, "advice": failure.advice}
                log.warning("bundle was not refreshed", extra={**fields, **reasons})
        state.fail(failures, wall=time.time())
        for step in self._plan(name, Rejected(name, failures)):
            match step:
                case RemoveBundle(reason=reason):
                    self._remove(name, reason)
                case RepairBundle() as repair:
                    log.warning("published files were altered, repairing", extra={"bundle": name})
                    self._repairs[name] = repair
                case KeepStale() | KeepPublished() | PublishBundle() | NotifyUnit():
                    pass
                case _:
                    assert_never(step)
        with contextlib.suppress(OSError):
            shown = state.record.generation if state.record else None
            published.sweep_bundle(self._runtime_dir, name, shown)

    def _report_ignored(self, name: str, candidate: Candidate) -> None:
        if candidate.ignored != self.states[name].ignored:
            for secret, keys in candidate.ignored.items():
                fields = {"bundle": name, "secret": secret, "keys": ", ".join(keys)}
                log.info("keys that the bundle does not name are not published", extra=fields)

    # --- steps -----------------------------------------------------------------------------------------

    def _plan(self, name: str, result: Candidate | Rejected | None) -> tuple[Step, ...]:
        seen = self.states[name].observed(result=result, intact=result is None or self.is_intact(name))
        return plan({name: self.config.bundles[name]}, {name: seen}, time.monotonic())

    def plan_notifications(self, name: str) -> None:
        if not self.ready or name not in self.config.bundles or name not in self.states:
            return
        for step in self._plan(name, None):
            if isinstance(step, NotifyUnit):
                self.deliveries.start(step, self.config)

    def _remove(self, name: str, reason: str) -> bool:
        """Whether the bundle's files are gone."""
        state = self.states[name]
        try:
            published.remove(self._runtime_dir, name)
        except OSError as error:
            failure = io_failure(error, f"cannot remove bundle {name}")
            log.error("bundle was not removed", extra={"bundle": name, "reason": failure.message})
            return False
        if state.record is not None:
            log.warning("bundle removed", extra={"bundle": name, "reason": reason})
        state.forget()
        return True

    def _next_due(self, name: str, now: float) -> float:
        state, daemon = self.states[name], self.config.daemon
        return next_due(
            now=now,
            interval_s=self.config.interval_s(name),
            jitter_s=daemon.refresh_jitter_s,
            failures=state.failures,
            attempts=state.failed_attempts,
            dice=state.dice,
        )

    @property
    def _runtime_dir(self) -> Path:
        return Path(self.config.daemon.runtime_dir)


def _warn_of(config: Config) -> None:
    for caution in cautions(config):
        log.warning("configuration is for development only", extra={"reason": caution})
