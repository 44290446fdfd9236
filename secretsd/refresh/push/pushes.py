"""Hears of new versions from the listeners, and has the bundles refreshed that use them.

A hint is only a reason to ask the source: what is published is what the source then says, and polling, which
slows while the push is healthy, stays the truth.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Collection
from functools import partial

from secretsd.config.models import Config
from secretsd.config.sources import AwsSecretsManager, Push
from secretsd.model import SecretRef, SecretVersion
from secretsd.push.messages import Assignment, Deleted, Hint, ListenerMessage, NotReceived, Received
from secretsd.refresh.bundles import Bundles
from secretsd.refresh.push import hints
from secretsd.refresh.push.hints import Expected, Pace, Told
from secretsd.refresh.push.listeners import LISTENER_LOST, Listener
from secretsd.refresh.push.state import HEALTHY_S, PushState, due_at

log = logging.getLogger(__name__)

# A read can be behind the event that told of it. After these pauses it is left to polling.
_ASK_AGAIN_S = (1.0, 2.0, 4.0)
# Hints make us ask the source this often, and no oftener; those that tell nothing new: ever more seldom.
_PAUSE_S = 1.0
_REFRESH_S = 60.0  # a refresh that has not ended by then is watched no longer


class Pushes:
    """All listeners and what they tell. Owned by the conductor's event loop.

    `request` is the conductor's request_refresh; `wake` has it look at its schedule again.
    """

    def __init__(
        self,
        bundles: Bundles,
        request: Callable[[Collection[str]], dict[str, int]],
        wake: Callable[[], None],
    ) -> None:
        self.states: dict[str, PushState] = {}
        self._bundles, self._request, self._wake = bundles, request, wake
        self._listeners: dict[str, Listener] = {}
        self._told: dict[str, Told] = {}
        self._silences: dict[str, asyncio.TimerHandle] = {}
        self._pursued: dict[str, dict[SecretRef, str | None]] = {}
        self._pursuits: dict[str, asyncio.Task[None]] = {}
        self._events: dict[
            str, dict[tuple[SecretRef, str], float]
        ] = {}  # by bundle: what is pursued, since when
        self._paces: dict[str, Pace] = {}  # by bundle
        self._endings: set[asyncio.Task[None]] = set()

    # --- listeners -------------------------------------------------------------------------------------

    def keep_up(self, config: Config) -> None:
        """Starts, stops and replaces listeners as the configuration wants it. Needs a running loop."""
        wanted, tables = assignments(config), _tables(config)
        for source in [s for s, each in self._listeners.items() if each.assignment != wanted.get(s)]:
            self._let_go(source)
        for source, assignment in wanted.items():
            interval_s = tables[source][1].refresh_interval_s
            if source not in self._listeners:
                self.states[source], self._told[source] = PushState(interval_s), Told()
                self._listeners[source] = Listener(assignment, partial(self._hear, source))
                self._expect(source)
            self.states[source].refresh_interval_s = interval_s

    def _let_go(self, source: str) -> None:
        ending = asyncio.create_task(self._listeners.pop(source).stop())
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)
        self._silences.pop(source).cancel()
        del self.states[source], self._told[source]
        self._bundles.trail.listens_no_more(source)

    async def stop(self) -> None:
        for source in list(self._listeners):
            self._let_go(source)
        pursuits = list(self._pursuits.values())
        for task in pursuits:
            task.cancel()
        await asyncio.gather(*self._endings, *pursuits, return_exceptions=True)

    # --- what they tell --------------------------------------------------------------------------------

    def _hear(self, source: str, message: ListenerMessage) -> None:
        if source not in self.states:
            return  # let go of meanwhile
        state = self.states[source]
        match message:
            case Received():
                self._receive(source, state, message)
            case NotReceived(failure=failure):
                if state.failure is None or state.failure.code != failure.code:
                    reasons = {"source": source, "reason": failure.message, "advice": failure.advice}
                    log.warning("queue of the push does not answer", extra=reasons)
                state.failure = failure
                if failure.code == LISTENER_LOST:
                    self._be_silent(source)  # what it had taken and not told comes again late
                state.restarts = self._listeners[source].restarts
            case Deleted(failure=failure):
                if failure is not None and state.deletion is None:
                    reasons = {"source": source, "reason": failure.message, "advice": failure.advice}
                    log.warning("messages of the push cannot be deleted", extra=reasons)
                state.deletion = failure
            case _:
                return
        self._bundles.trail.listened(source, state)
        self._bundles.sources.count_calls(source, Counter(message.calls))
        self._bundles.changes.announce()

    def _receive(self, source: str, state: PushState, message: Received) -> None:
        now, wall = time.monotonic(), time.time()
        state.failure = None
        if state.become(is_healthy=True, now=now, wall=wall):
            log.info("push is healthy: bundles are refreshed less often", extra={"source": source})
            self._wake()
        self._expect(source)
        if message.hints or message.ignored or message.malformed:
            state.last_message_at = wall
        state.hints += len(message.hints)
        state.ignored += message.ignored
        state.malformed += message.malformed
        self._bundles.trail.discarded(source, ignored=message.ignored, malformed=message.malformed)
        for hint in message.hints:
            self._follow(source, hint)

    def _expect(self, source: str) -> None:
        """Looks at the push again when it has been silent for too long."""
        if source in self._silences:
            self._silences[source].cancel()
        loop = asyncio.get_running_loop()
        self._silences[source] = loop.call_later(HEALTHY_S, self._be_silent, source)

    def _be_silent(self, source: str) -> None:
        state, now = self.states[source], time.monotonic()
        if state.become(is_healthy=False, now=now, wall=time.time()):
            log.warning(
                "push is silent: bundles are refreshed by their own interval", extra={"source": source}
            )
            self._bundles.trail.listened(source, state)
            self._bundles.changes.announce()
            self._wake()

    # --- hints -----------------------------------------------------------------------------------------

    def _follow(self, source: str, hint: Hint) -> None:
        if not self._told[source].is_news(hint):
            return
        for name, wanted in hints.expected(hint, source, self._bundles.config.bundles).items():
            if name in self._bundles.states and not self._has(name, wanted):
                self._pursue(name, wanted)
                if hint.at is not None:
                    events = {(ref, version): hint.at for ref, version in wanted.items() if version}
                    self._events[name] = self._events.get(name, {}) | events

    def _has(self, name: str, wanted: Expected) -> bool:
        """Whether all that is hinted at was already given by the source."""
        return None not in wanted.values() and not self._missing(name, wanted)

    def _missing(self, name: str, wanted: Expected) -> dict[SecretRef, str]:
        return hints.missing(wanted, self._given(name))

    def _given(self, name: str) -> tuple[SecretVersion, ...]:
        """What the source has given last, whether it is shown or held back."""
        state = self._bundles.states.get(name)
        return () if state is None else state.versions + state.held_back

    def _pursue(self, name: str, wanted: Expected) -> None:
        """Refreshes the bundle until it has what was hinted at. What is pursued already goes along."""
        if (former := self._pursuits.pop(name, None)) is not None:
            former.cancel()
        self._pursued[name] = {**self._pursued.get(name, {}), **wanted}
        task = asyncio.create_task(self._refresh(name), name=f"push for {name}")
        self._pursuits[name] = task
        task.add_done_callback(partial(self._end_pursuit, name))

    def _end_pursuit(self, name: str, task: asyncio.Task[None]) -> None:
        if self._pursuits.get(name) is task:
            del self._pursuits[name], self._pursued[name]
            self._events.pop(name, None)

    async def _refresh(self, name: str) -> None:
        pace = self._paces.setdefault(name, Pace())
        await asyncio.sleep(pace.next_at(self._given(name), pause_s=_PAUSE_S) - time.monotonic())
        pace.ask(self._given(name), now=time.monotonic())
        self._bundles.trail.hinted(name, self._pursued[name])
        for pause_s in (*_ASK_AGAIN_S, None):
            if name not in self._bundles.states or name not in self._bundles.config.bundles:
                return
            pace.asked_at = time.monotonic()
            log.info("refreshing: the push told of a change", extra={"bundle": name})
            target = self._request([name])[name]
            if not await self._has_ended(name, target):
                return
            self._measure(name)
            state = self._bundles.states.get(name)
            if state is None or state.failures or not self._missing(name, self._pursued[name]):
                return  # what failed is tried again by its own schedule
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        log.info(
            "the source does not have the version that was told: left to polling", extra={"bundle": name}
        )

    def _measure(self, name: str) -> None:
        """How long ago it was told what is published now, if it is what was told."""
        record = self._bundles.states[name].record if name in self._bundles.states else None
        for version in record.versions if record else ():
            at = self._events.get(name, {}).pop((version.ref, version.version_id), None)
            if record is not None and at is not None and (push := self.states.get(version.ref.source)):
                push.lags.add(record.published_at - at)

    async def _has_ended(self, name: str, target: int) -> bool:
        states = self._bundles.states
        return await self._bundles.changes.until(
            lambda: name not in states or states[name].ended >= target, _REFRESH_S
        )

    # --- the schedule ----------------------------------------------------------------------------------

    def due_at(self, name: str) -> float:
        """When the bundle is due, in monotonic seconds."""
        config, state = self._bundles.config, self._bundles.states[name]
        bundle = config.bundles[name]
        sources = {secret.source for secret in bundle.secrets}
        return due_at(
            state.next_due,
            interval_s=config.interval_s(name),
            confirmed=None if state.failures else state.confirmed_monotonic,
            dice=state.dice,
            # A bundle that may not be old is confirmed twice in that time.
            slowest_s=math.inf if bundle.max_age_s is None else bundle.max_age_s / 2,
            pushes=[self.states.get(source) for source in sources],
        )


def assignments(config: Config) -> dict[str, Assignment]:
    """What each listener that the configuration wants has to do, by source."""
    return {
        name: Assignment(name, push.queue_url, source.region, push.endpoint_url)
        for name, (source, push) in _tables(config).items()
    }


def _tables(config: Config) -> dict[str, tuple[AwsSecretsManager, Push]]:
    return {
        name: (table, table.push)
        for name, table in config.sources.items()
        if isinstance(table, AwsSecretsManager) and table.push is not None
    }
