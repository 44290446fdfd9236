"""Every bundle's state, and the plan's steps done to it, as a round goes on."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import assert_never

from secretsd.config.cautions import cautions
from secretsd.config.models import Bundle, Config
from secretsd.errors import Failure, LocalIOError
from secretsd.model import Candidate, Floor, PublishRecord, Rejected, SealedHeader, SecretRef
from secretsd.refresh import reported
from secretsd.refresh.files import drift, published
from secretsd.refresh.files.confirmations import Confirmations
from secretsd.refresh.files.publish import io_failure
from secretsd.refresh.files.restores import Restores
from secretsd.refresh.files.takeover import as_noted, not_before_now
from secretsd.refresh.hold import after_reboot, holds_any, of_a_pinned_version, pinned
from secretsd.refresh.messages import Verdict
from secretsd.refresh.notebook import Notebook
from secretsd.refresh.plan import (
    KeepHeld,
    KeepPublished,
    KeepStale,
    NotifyUnit,
    PublishBundle,
    RemoveBundle,
    RestoreBundle,
    Step,
    UnsealBundle,
    ends_hold,
    plan,
)
from secretsd.refresh.rounds import Result
from secretsd.refresh.schedule import next_due
from secretsd.refresh.sealed.sealing import Sealing
from secretsd.refresh.sealed.unsealing import Unsealing
from secretsd.refresh.source_book.book import SourceBook
from secretsd.refresh.source_book.floors import floors, highest
from secretsd.refresh.state import BundleState, Changes, Intent
from secretsd.refresh.trail import Trail
from secretsd.refresh.units.delivery import Deliveries
from secretsd.refresh.units.starts import Starts

log = logging.getLogger(__name__)


class Bundles:
    """Owns the states; a rounds.Audience. All methods run on the conductor's event loop."""

    def __init__(self, config: Config, sources: SourceBook, trail: Trail) -> None:
        self.config = config
        self.trail = trail
        self.sources = sources
        self.states: dict[str, BundleState] = {}
        self.changes = Changes()
        self.notebook = Notebook(Path(config.daemon.state_dir), self.states)
        self.deliveries = Deliveries(self.states, self.changes, self.notebook, trail, self.plan_notifications)
        self.restores = Restores(self._runtime_dir, self.states, self.changes, self.notebook, trail)
        state_dir = Path(config.daemon.state_dir)
        self.sealing = Sealing(state_dir, self._runtime_dir, self.states, self.changes, trail)
        self.unsealing = Unsealing(self.states, self.restores)
        self.starts = Starts(self.states, self.changes)
        self.confirmations = Confirmations(self._runtime_dir, self.states)
        self.ready = False  # before READY nobody is told
        self._flying: dict[str, frozenset[str]] = {}  # bundle -> those of its round
        self._pinned: set[str] = set()  # their round asks for what is held, not for what the source has now

    def open(self) -> None:
        """Takes over what a former run left. Raises: LocalIOError."""
        _warn_of(self.config)
        self.notebook.open()
        try:
            removed = published.sweep(self._runtime_dir, self.notebook.last_shown())
            present = published.bundles_present(self._runtime_dir)
        except OSError as error:
            failure = io_failure(error, "cannot take over what is published")
            raise LocalIOError(failure.message, advice=failure.advice) from None
        if removed:
            log.info("leftovers of an interrupted publish removed", extra={"entries": removed})
        for name in present | self.config.bundles.keys():
            self._take_on(name)
        self.sealing.open(self.config.bundles)

    def adopt(self, config: Config) -> set[str]:
        """Lets go of the old configuration. Returns the bundles that are to be refreshed for that."""
        former, self.config = self.config, config
        _warn_of(config)
        for name in config.bundles.keys() - self.states.keys():
            self._take_on(name)
        for name in config.bundles:
            self.confirmations.note(name, config)
        self.sealing.adopt(config.bundles)
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
        if record is None and entry.shown:
            # Somebody has removed the link while nobody watched: what it showed is still to be shown.
            record = not_before_now(published.read_record_of(self._runtime_dir, name, entry.shown))
        record = as_noted(record, entry.history)
        given = max(entry.generation, published.highest_generation(self._runtime_dir, name))
        self.states[name] = BundleState(
            record=record, entry=entry, given=given, versions=record.versions if record else ()
        )
        self.states[name].take_over(wall=time.time(), monotonic=time.monotonic())
        if record is not None and record.generation not in {each.generation for each in entry.history}:
            self.notebook.note_shown(name, record)
        self.confirmations.take_over(name)

    def wanted(self, name: str) -> Bundle:
        """The bundle as it is to be fetched: after a reboot, which has lost it, what an operator holds."""
        state, bundle = self.states[name], self.config.bundles[name]
        if state.entry.hold is None or state.record is not None:
            return bundle
        self._pinned.add(name)
        return pinned(bundle, state.entry.hold.pinned)

    def floors(self, names: Collection[str]) -> dict[SecretRef, Floor]:
        """Below which version of each secret of these bundles a replica is not believed."""
        states = (self.states[name] for name in names)
        return highest(floors(state.versions + state.held_back, state.entry.history) for state in states)

    async def remove_unwanted(self) -> None:
        """Takes away what the configuration no longer names; what a worker works on waits for its end."""
        unwanted = self.states.keys() - self.config.bundles.keys() - self._flying.keys()
        unwanted = {name for name in unwanted if not self.restores.is_under_way(name)}
        observed = {name: self.states[name].observed(result=None, intact=True) for name in unwanted}
        for step in plan({}, observed, time.monotonic()):
            if isinstance(step, RemoveBundle) and await self._remove(step.bundle, step.reason):
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

    def expect_start(self, name: str) -> None:
        """Somebody has asked for the bundle, most likely a unit that is about to start on it."""
        self.deliveries.look_soon(name)
        if name in self.states:
            self.starts.expect(name, self.config)

    def is_intact(self, name: str) -> bool:
        """Whether the bundle is published and every file still is what was published. Opens no file."""
        state = self.states.get(name)
        record = state.record if state else None
        return record is not None and drift.is_intact(self._runtime_dir, record)

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
                # What the source has now, which may end a rollback, was not asked for yet.
                is_half_done = name in self._pinned and self.states[name].record is not None
                self.states[name].next_due = now if is_half_done else self._next_due(name, now)
        self._pinned -= names
        self.changes.announce()

    @property
    def flying(self) -> Collection[str]:
        """The bundles that a round works on now."""
        return self._flying.keys()

    async def on_prepared(self, candidate: Candidate) -> Verdict:
        """As rounds.Audience."""
        name = candidate.bundle
        await self.restores.ended(name)
        if (bundle := self.config.bundles.get(name)) is None:
            return Verdict(name, None)
        generation = await self._to_publish(name, candidate)
        order = self.sealing.order(name, bundle, candidate, generation)
        return Verdict(name, generation, order)

    async def _to_publish(self, name: str, candidate: Candidate) -> int | None:
        """The generation that the candidate is to become; None where what is published stays."""
        for step in self._plan(name, candidate):
            match step:
                case PublishBundle(generation=generation, reason=reason):
                    log.info("publishing", extra={"bundle": name, "generation": generation, "reason": reason})
                    self.restores.publishing.add(name)
                    self.states[name].intent = Intent(generation, self.restores.detailed(name, reason))
                    await self._settle_hold(name, candidate)
                    await self.notebook.reserve(name, generation, self._flying[name])
                    return generation
                case KeepPublished() | KeepHeld() | KeepStale() | RestoreBundle() | RemoveBundle():
                    pass
                case UnsealBundle() | NotifyUnit():
                    pass
                case _:
                    assert_never(step)
        return None

    async def on_opened(self, candidate: Candidate) -> None:
        """As rounds.Audience."""
        await self._settle_hold(candidate.bundle, candidate)

    async def on_sealed(self, header: SealedHeader) -> None:
        """As rounds.Audience."""
        await self.sealing.on_sealed(header, self.config.bundles)

    async def on_not_sealed(self, name: str, failure: Failure) -> None:
        """As rounds.Audience."""
        self.sealing.on_not_sealed(name, failure)

    async def _settle_hold(self, name: str, candidate: Candidate) -> None:
        """What becomes of an operator's word now that `candidate` is about to be shown."""
        hold = self.states[name].entry.hold
        if hold is None or hold.digest == candidate.digest:
            return
        if ends_hold(hold, candidate):
            log.info("rollback ended: the source has a newer version", extra={"bundle": name})
        elif holds_any(hold, candidate.versions):
            await self.notebook.hold(name, after_reboot(hold, candidate.digest))
            return
        else:
            # To go on would be to call something held that nobody has ever held.
            reason = "a reboot has lost its content, and the source gives no earlier version"
            log.warning("hold ended", extra={"bundle": name, "reason": reason})
        self.trail.released(name)
        await self.notebook.hold(name, None)

    async def on_published(self, record: PublishRecord) -> None:
        """As rounds.Audience."""
        name, generation = record.bundle, record.generation
        log.info("published", extra={"bundle": name, "generation": generation})
        state = self.states[name]
        former = state.record
        state.show(record)
        if former is None:
            state.take_over(wall=time.time(), monotonic=time.monotonic())
            self.confirmations.note(name, self.config)
            self.unsealing.on_published(record)
        state.drift.is_open = False
        self.restores.succeeded(name)
        self.notebook.note_shown(name, record)
        self.trail.published(record, state.intent)
        if former is not None and former.digest == record.digest:
            # The same content once more, over files that were altered: who has loaded it has loaded it.
            await self.notebook.carry(name, old=former.generation, new=generation)

    def shown(self, name: str) -> PublishRecord | None:
        """As rounds.Audience."""
        return not_before_now(published.read_record(self._runtime_dir, name))

    async def on_ended(self, name: str, result: Result) -> None:
        """As rounds.Audience."""
        await self.restores.ended(name)
        # Until the end of this: what is about to be withdrawn is not restored.
        self.restores.publishing.add(name)
        state = self.states[name]
        if name in self.config.bundles:  # or a reload has just let go of it
            if isinstance(result, tuple):
                await self._on_failure(name, result)
            else:
                if result.ignored != state.ignored:
                    reported.ignored(name, result.ignored)
                if state.failures:
                    self.trail.refreshed_again(name, state.failed_attempts)
                state.confirm(result, wall=time.time(), monotonic=time.monotonic())
                self.confirmations.note(name, self.config)
        self.restores.publishing.discard(name)
        state.ended = state.begun  # last: who waits for it finds all of it done
        self.changes.announce()
        self.plan_notifications(name)

    async def _on_failure(self, name: str, failures: tuple[Failure, ...]) -> None:
        state = self.states[name]
        if state.entry.hold is not None and state.record is None:
            failures = tuple(map(partial(of_a_pinned_version, name), failures))
        if state.record is None:
            refused = self.unsealing.refusal(name, state) or state.refused_copy
            failures += (refused,) if refused is not None and state.sealed else ()
        if failures != state.failures:
            reported.not_refreshed(name, failures)
            self.trail.not_refreshed(name, failures)
        state.fail(failures, wall=time.time())
        for step in self._plan(name, Rejected(name, failures)):
            match step:
                case RemoveBundle(reason=reason):
                    await self._remove(name, reason)
                case KeepStale() | KeepPublished() | KeepHeld() | PublishBundle() | NotifyUnit():
                    pass
                case RestoreBundle() | UnsealBundle():
                    pass  # `restores` and `unsealing` find it, too, at the end of this round
                case _:
                    assert_never(step)
        with contextlib.suppress(OSError):
            shown = state.record.generation if state.record else None
            published.sweep_bundle(self._runtime_dir, name, shown)

    async def on_not_restored(self, name: str, failure: Failure) -> None:
        """As rounds.Audience."""
        self.trail.not_restored(name, failure)
        if self.states[name].record is None:
            self.unsealing.on_failed(name, failure)
        else:
            await self.restores.on_failed(name, failure)

    def end_restores(self, names: Collection[str]) -> None:
        self.restores.end(names)
        for name in names:
            self.plan_notifications(name)

    # --- steps -----------------------------------------------------------------------------------------

    def _plan(self, name: str, result: Candidate | Rejected | None) -> tuple[Step, ...]:
        is_altered = result is not None and self.restores.look(name)
        seen = self.states[name].observed(result=result, intact=not is_altered)
        return plan({name: self.config.bundles[name]}, {name: seen}, time.monotonic())

    def plan_notifications(self, name: str) -> None:
        if not self.ready or name not in self.config.bundles or name not in self.states:
            return
        steps = self._plan(name, None)
        if any(isinstance(step, RestoreBundle) for step in steps):
            return  # units are told of what is about to be shown, not of what is about to go
        for step in steps:
            if isinstance(step, NotifyUnit):
                self.deliveries.start(step, self.config)

    async def _remove(self, name: str, reason: str) -> bool:
        """Whether the bundle's files are gone, all generations of them."""
        state = self.states[name]
        # First: a start in between must not take for an accident what has begun to go.
        await self.notebook.note_removed(name)
        self.sealing.remove(name)
        try:
            published.remove(self._runtime_dir, name)
        except OSError as error:
            failure = io_failure(error, f"cannot remove bundle {name}")
            log.error("bundle was not removed", extra={"bundle": name, "reason": failure.message})
            return False
        if state.record is not None:
            log.warning("bundle removed", extra={"bundle": name, "reason": reason})
            self.trail.removed(name, reason)
        state.forget()
        self.confirmations.forget(name)
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
            retry_at=self.sources.retry_at(self.config, self.config.bundles[name]),
        )

    @property
    def _runtime_dir(self) -> Path:
        return Path(self.config.daemon.runtime_dir)


def _warn_of(config: Config) -> None:
    for caution in cautions(config):
        log.warning("configuration is for development only", extra={"reason": caution})
