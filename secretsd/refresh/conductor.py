"""The conductor: decides when, starts rounds, and reloads. It never sees a bundle's secret."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from secretsd.audit.ledger import Ledger
from secretsd.audit.pruning import Pruner
from secretsd.config.load import load_checked
from secretsd.config.models import Bundle, Config
from secretsd.errors import ConfigError, Failure, LocalIOError
from secretsd.model import Candidate, Rejected, Survey
from secretsd.observe.alerts import Alerts
from secretsd.refresh.bundles import Bundles
from secretsd.refresh.examination import Findings
from secretsd.refresh.files import published
from secretsd.refresh.files.memory import MemoryKind, memory_kind
from secretsd.refresh.files.watch import Watch
from secretsd.refresh.guard import Guard
from secretsd.refresh.plan import Anew, Step, plan
from secretsd.refresh.push.pushes import Pushes
from secretsd.refresh.rounds import Rehearsal, Rounds
from secretsd.refresh.schedule import goes_along, portion
from secretsd.refresh.source_book.book import Terms
from secretsd.refresh.state import BundleState, Changes
from secretsd.refresh.surveys import survey
from secretsd.refresh.trail import Trail
from secretsd.refresh.workers import Workers
from secretsd.unusual.findings import Finding

log = logging.getLogger(__name__)

FIRST_ROUND_S = 10.0  # READY comes after this long even if a source still hangs
# Between two looks at the published files: while something is going on or nobody listens, and else.
LOOK_INTERVAL_S, QUIET_LOOK_S = 1.5, 10.0
_LOOK_PAUSE_S = 0.05  # a change seldom comes alone

Sources = frozenset[str]


@dataclass(slots=True)
class _Flight:
    """A round under way, for bundles of the same sources."""

    names: frozenset[str]
    task: asyncio.Task[None]


class Conductor:
    """One daemon's life; all methods run on one event loop."""

    def __init__(self, config_path: Path, config: Config) -> None:
        self.config_path = config_path
        audit = Path(config.daemon.state_dir) / "audit"
        ledger = Ledger(audit, "refresher", max_file_bytes=config.audit.max_file_bytes)
        self.pruner = Pruner(audit, "refresher", ledger.write, ledger.durable)
        self.guard = Guard(config, ledger, self._hear_unusual)
        self.trail = Trail(ledger, self.guard.sentry.detector)
        self._rounds = Rounds(Workers(), self.trail.read)
        self._rounds.expect(config)
        self.bundles = Bundles(config, self._rounds.sources, self.trail)
        self.alerts = Alerts(self.bundles)
        self.memory = MemoryKind("unknown", is_memory=False)
        self.refused_configuration = ""  # why the last reload changed nothing; empty when it did
        self._flights: dict[Sources, _Flight] = {}
        self._restoring: _Flight | None = None
        self._requested: set[str] = set()
        self._wake = asyncio.Event()
        self._next_look = 0.0  # monotonic seconds
        self.pushes = Pushes(self.bundles, self.request_refresh, self._wake.set)
        self.watch = Watch(Path(config.daemon.runtime_dir), self._hear)
        self._reloading = asyncio.Lock()
        self._runtime_lock: int | None = None  # held open until the process ends

    @property
    def config(self) -> Config:
        """The running configuration."""
        return self.bundles.config

    @property
    def states(self) -> dict[str, BundleState]:
        return self.bundles.states

    @property
    def lost_workers(self) -> int:
        """Workers that did not end by themselves, since this start of the daemon."""
        return self._rounds.lost

    @property
    def changes(self) -> Changes:
        return self.bundles.changes

    def open(self) -> None:
        """Takes over what a former run left. Raises: LocalIOError."""
        runtime_dir = Path(self.config.daemon.runtime_dir)
        published.prepare(runtime_dir)
        self._runtime_lock = published.lock(runtime_dir)
        with contextlib.suppress(OSError):
            # systemd makes it for the service; what goes wrong here shows when the journal is written.
            Path(self.config.daemon.state_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.memory = memory_kind(runtime_dir)
        if self.memory.warning:
            log.warning("runtime directory is not safe", extra={"reason": self.memory.warning})
        self.trail.open()
        self.trail.configured(len(self.config.bundles), self.config.bundles)
        self.guard.open(self.config)
        self.bundles.open()
        self.bundles.sources.calls.open(Path(self.config.daemon.state_dir))

    async def run(self) -> None:
        """Refreshes whatever is due and restores whatever was altered, for ever.

        Raises: whatever a round met that is a bug.
        """
        try:
            while True:
                self._wake.clear()
                self._land_flights()
                self.pushes.keep_up(self.config)
                await self.bundles.remove_unwanted()
                await self._restore()
                self._requested |= self.bundles.restores.take_needy() & self.config.bundles.keys()
                for sources, names in self._grounded(self._due() | self._requested).items():
                    self._take_off(sources, self._portion(names | self._going_along(sources)))
                await self._sleep()
        finally:
            self.watch.stop()

    async def stop(self) -> None:
        await self.pushes.stop()
        await self.bundles.deliveries.stop()
        await self.bundles.starts.stop()
        flights = [*self._flights.values(), *([self._restoring] if self._restoring else [])]
        for flight in flights:
            flight.task.cancel()
        await asyncio.gather(*(flight.task for flight in flights), return_exceptions=True)
        await self.bundles.notebook.close()
        await self.bundles.sources.calls.close()
        await self._rounds.workers.close()
        await self.guard.close()
        self.trail.close()
        if self._runtime_lock is not None:
            os.close(self._runtime_lock)
            self._runtime_lock = None

    # --- what others ask for ---------------------------------------------------------------------------

    def request_refresh(self, names: Collection[str]) -> dict[str, int]:
        """Asks for a refresh that begins after this call.

        Returns the number that `BundleState.ended` has reached when it has ended. Requests that come
        together, or while a round of the same sources is under way, become one round.
        """
        self._requested |= set(names)
        self._wake.set()
        return {name: self.states[name].begun + 1 for name in names}

    def _hear_unusual(self, finding: Finding, daemon: str, at: float) -> None:
        self.alerts.report(finding, daemon, at)  # which is made after the trail that finds it

    def look(self) -> None:
        """Looks at the published files as soon as can be, and restores what is no longer as it was."""
        self._next_look = 0.0
        self._wake.set()

    async def reload_configuration(self) -> None:
        """Builds the new configuration whole, then lets the old one go; what changed is due at once.

        Raises: ConfigError; the running configuration then stays.
        """
        async with self._reloading:
            self.guard.listen()  # whatever becomes of the configuration
            try:
                config = await asyncio.to_thread(load_checked, self.config_path)
                self._refuse_moving(config)
            except ConfigError as error:
                fields = {"mistakes": len(error.problems), "first": error.problems[0]}
                log.error("configuration refused, the running one stays", extra=fields)
                self.refused_configuration = error.problems[0]
                self.trail.not_configured(error)
                raise
            changed = self.bundles.adopt(config)
            self._requested |= changed
            self._rounds.expect(config)
            self.trail.ledger.resize(config.audit.max_file_bytes)
            self.trail.configured(len(config.bundles), changed)
            self.guard.configure(config)
        self.refused_configuration = ""
        log.info("configuration loaded", extra={"bundles": len(config.bundles)})
        self._wake.set()

    def _refuse_moving(self, config: Config) -> None:
        keys = ("runtime_dir", "state_dir", "control_socket")
        moved = [key for key in keys if getattr(config.daemon, key) != getattr(self.config.daemon, key)]
        if moved:
            raise ConfigError([f"{self.config_path}: {', '.join(moved)} changed: restart secretsd for that"])

    def hurry_deliveries(self, names: Collection[str]) -> None:
        """Tells units now that would be told later."""
        for name in names:
            self.bundles.deliveries.hurry(name)
            self.bundles.expect_start(name)
            self.bundles.plan_notifications(name)

    async def dry_run(self, names: Collection[str]) -> tuple[Step, ...]:
        """What a refresh of `names` would do. Fetches, publishes nothing, tells nobody."""
        config, rehearsal = self.config, Rehearsal()
        for group in self._groups(names).values():
            left = group
            while left:
                part = self._portion(left)
                left -= part
                wanted = {name: config.bundles[name] for name in part}
                await self._rounds.run(config, wanted, rehearsal, self._terms(part, by_hand=True))
        # A reload meanwhile may have let go of some.
        results = {name: result for name, result in rehearsal.results.items() if name in self.states}
        observed = {
            # Units that wait for another try are told on such a refresh, if an operator asks for it.
            name: replace(
                self.states[name].observed(result=result, intact=self.bundles.is_intact(name)), retry_at={}
            )
            for name, result in results.items()
        }
        return plan({name: config.bundles[name] for name in results}, observed, time.monotonic())

    async def rehearse(self, name: str) -> Candidate | Rejected:
        """What a refresh of the bundle would publish now. Fetches, publishes nothing."""
        rehearsal = Rehearsal()
        wanted = {name: self.config.bundles[name]}
        await self._rounds.run(self.config, wanted, rehearsal, self._terms(wanted, by_hand=True))
        return rehearsal.results[name]

    async def survey(self, name: str, bundle: Bundle) -> Survey | tuple[Failure, ...]:
        """What kinds of values the bundle's secrets hold now. Fetches, publishes nothing, tells nobody."""
        return await survey(self._rounds, self.config, name, bundle)

    async def examine(self, source: str) -> Findings:
        """What a source of the running configuration grants and sees. Publishes nothing, tells nobody."""
        return await self._rounds.examine(self.config, source)

    # --- flights ---------------------------------------------------------------------------------------

    def _groups(self, names: Collection[str]) -> dict[Sources, frozenset[str]]:
        """Bundles that share a worker. A source that hangs then holds up only its own bundles."""
        groups: dict[Sources, frozenset[str]] = {}
        for name in self.config.bundles.keys() & names:
            sources = self._sources(name)
            groups[sources] = groups.get(sources, frozenset()) | {name}
        return groups

    def _sources(self, name: str) -> Sources:
        return frozenset(secret.source for secret in self.config.bundles[name].secrets)

    def _grounded(self, names: Collection[str]) -> dict[Sources, frozenset[str]]:
        """Groups that can take off: neither their sources nor their bundles are in a round now."""
        groups = self._groups(set(names) - set(self.bundles.flying))
        return {sources: group for sources, group in groups.items() if sources not in self._flights}

    def _portion(self, names: Collection[str]) -> frozenset[str]:
        """What one worker can do in its time; the others follow in the next round of their sources.

        First whom somebody waits for, then who has waited longest: none is left for good by those before it.
        """
        order = sorted(
            names, key=lambda name: (name not in self._requested, self.states[name].next_due, name)
        )
        secrets = {name: len(self.config.bundles[name].secrets) for name in names}
        return portion(order, secrets)

    def _take_off(self, sources: Sources, names: frozenset[str]) -> None:
        terms = self._terms(names, by_hand=bool(self._requested & names))
        self._requested -= names
        with contextlib.suppress(LocalIOError):
            # Somebody may have taken away what every publish needs; what cannot be mended fails there.
            published.prepare(Path(self.config.daemon.runtime_dir))
        self.bundles.begin(names, dice=random.random())
        # Now: by the time that the task begins, a reload may have let go of some.
        config, wanted = self.config, {name: self.bundles.wanted(name) for name in sorted(names)}
        flight = self._rounds.run(config, wanted, self.bundles, terms)
        task = asyncio.create_task(flight, name=f"round of {', '.join(sorted(sources))}")
        task.add_done_callback(lambda _: self._wake.set())
        self._flights[sources] = _Flight(names, task)

    def _terms(self, names: Collection[str], *, by_hand: bool) -> Terms:
        return Terms(self.bundles.floors(names), by_hand)

    async def _restore(self) -> None:
        """Looks at every bundle if it is time to; one worker restores all that are to be."""
        now = time.monotonic()
        self.watch.keep_up(now)
        if now < self._next_look or self._restoring is not None:
            return
        config, restores = self.config, self.bundles.restores  # a reload meanwhile may let go of some bundles
        unseals = self.bundles.unsealing.due(config.bundles)
        steps: dict[str, Anew] = {**restores.due(config.bundles), **unseals}
        is_quiet = not restores.is_unfinished() and self.watch.is_sure(restores.directories())
        self._next_look = now + (QUIET_LOOK_S if is_quiet else LOOK_INTERVAL_S)
        if steps:
            await restores.begin(steps)
            task = asyncio.create_task(self._rounds.restore(config, steps, self.bundles), name="restore")
            task.add_done_callback(lambda _: self._wake.set())
            self._restoring = _Flight(frozenset(steps), task)

    def _hear(self) -> None:
        """Somebody, perhaps a worker of ours, touches published files."""
        self._next_look = min(self._next_look, time.monotonic() + _LOOK_PAUSE_S)
        self._wake.set()

    def _land_flights(self) -> None:
        if self._restoring is not None and self._restoring.task.done():
            flight, self._restoring = self._restoring, None
            self.bundles.end_restores(flight.names)
            flight.task.result()
            self._next_look = 0.0  # what was altered meanwhile
        for sources, flight in list(self._flights.items()):
            if flight.task.done():
                del self._flights[sources]
                self.bundles.end(flight.names)
                flight.task.result()
                self._next_look = 0.0  # a failed refresh may have left altered files as they are

    def _due(self) -> set[str]:
        now = time.monotonic()
        return {name for name in self.states.keys() & self.config.bundles.keys() if self.due_at(name) <= now}

    def due_at(self, name: str) -> float:
        """Monotonic seconds. One round has found out that an endpoint is silent: others wait with it."""
        retry_at = self.bundles.sources.retry_at(self.config, self.config.bundles[name])
        return max(self.pushes.due_at(name), retry_at)

    def _going_along(self, sources: Sources) -> frozenset[str]:
        """Bundles that one batch serves with those that are due."""
        now, config = time.monotonic(), self.config
        willing = {
            name
            for name in config.bundles
            if goes_along(due=self.due_at(name), now=now, interval_s=config.interval_s(name))
        }
        return self._grounded(willing).get(sources, frozenset())

    async def _sleep(self) -> None:
        waiting = self._grounded(self.config.bundles.keys()).values()
        dues = [self.due_at(name) for names in waiting for name in names]
        # While a restore is under way its end is what wakes.
        looks = [self._next_look] if self._restoring is None else []
        delay_s = max(0.0, min([*looks, *dues]) - time.monotonic()) if looks or dues else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._wake.wait()
