"""Bringing units to a published generation, at least once, until it has succeeded."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from secretsd.config.models import Config
from secretsd.config.on_change import OnChange
from secretsd.model import UnitReport
from secretsd.refresh.notebook import Notebook
from secretsd.refresh.plan import NotifyUnit
from secretsd.refresh.schedule import retry_delay
from secretsd.refresh.state import BundleState, Changes, Delivery
from secretsd.refresh.trail import Trail
from secretsd.refresh.units.attempt import Attempt
from secretsd.refresh.units.gates import Reason, WaitUntil, look_again_s

log = logging.getLogger(__name__)

_FIRST_RETRY_S = 2.0
_STARTING_RETRY_S = 1.0
_ACK_RETRY_S = 30.0
_ASK_AT_ONCE = 8  # the helper answers 32 connections at a time, and others need theirs
_SOONEST_S = 2.0  # no sooner after a report, whoever asks


class Deliveries:
    """Runs one delivery per bundle and unit at a time."""

    def __init__(
        self,
        states: dict[str, BundleState],
        changes: Changes,
        notebook: Notebook,
        trail: Trail,
        again: Callable[[str], None],
    ) -> None:
        """`again(bundle)` plans anew."""
        self._states = states
        self._changes = changes
        self._notebook = notebook
        self._trail = trail
        self._again = again
        self._tasks: set[asyncio.Task[None]] = set()
        self._retries: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._asking = asyncio.Semaphore(_ASK_AT_ONCE)
        self._host = os.uname().nodename

    def start(self, step: NotifyUnit, config: Config) -> None:
        """Begins `step`, unless that unit is being told something right now."""
        delivery = self._states[step.bundle].delivery(step.unit)
        if delivery.in_progress:
            return  # what ends then plans again, and sees the newer generation
        delivery.in_progress = True
        task = asyncio.create_task(self._deliver(step, config), name=f"deliver {step.bundle} {step.unit}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def hurry(self, bundle: str) -> None:
        """Forgets the waiting times of a bundle's retries: an operator asked."""
        for delivery in self._states[bundle].deliveries.values():
            delivery.retry_at = 0.0

    def look_soon(self, bundle: str) -> None:
        """Somebody who may be about to start the bundle's unit has asked: what waits is looked at again."""
        state, now = self._states.get(bundle), time.monotonic()
        for unit, delivery in state.deliveries.items() if state else ():
            soon = max(now, delivery.reported_at + _SOONEST_S)
            if delivery.wait is not None and soon < delivery.retry_at:
                self._arm(bundle, unit, delivery, soon - now)

    async def stop(self) -> None:
        """Abandons what is under way: the journal brings it back."""
        for timer in self._retries.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("delivery ended by a bug in secretsd", exc_info=task.exception())

    async def _deliver(self, step: NotifyUnit, config: Config) -> None:
        state = self._states[step.bundle]
        delivery = state.delivery(step.unit)
        if delivery.generation != step.generation:
            delivery.waits = 0
            delivery.last_failure = None
            # What the journal knows of a former run: a unit that is down may be down because it was told.
            delivery.failed_attempts = int(state.entry.failed.get(step.unit) == step.generation)
        entry = next(e for e in config.bundles[step.bundle].on_change if e.unit == step.unit)
        try:
            report = await self._attempt(step, entry, state, config).run()
            # A reload may have let go of the bundle meanwhile, and even have taken it on again.
            if self._states.get(step.bundle) is state:
                # Altered files may have been repaired meanwhile: the unit was told of that content, too.
                step = replace(step, generation=state.shown_as(step.generation))
                await self._settle(step, entry, state, report)
        finally:
            delivery.in_progress = False
        self._changes.announce()
        self._again(step.bundle)

    def _attempt(self, step: NotifyUnit, entry: OnChange, state: BundleState, config: Config) -> Attempt:
        return Attempt(
            step,
            entry,
            state,
            socket_path=str(config.daemon.notify_socket),
            host=self._host,
            asking=self._asking,
            show=partial(self._show, state.delivery(step.unit), step),
            record_restart=partial(self._record_restart, step, state),
        )

    async def _record_restart(self, step: NotifyUnit, state: BundleState, at: float) -> None:
        if self._states.get(step.bundle) is state:  # as above
            await self._notebook.record_restart(step.bundle, step.unit, at)

    async def _settle(
        self, step: NotifyUnit, entry: OnChange, state: BundleState, report: UnitReport
    ) -> None:
        """Writes down what came of it, or sets when to try again."""
        delivery = state.delivery(step.unit)
        delivery.outcomes[report.outcome] += 1
        self._trail.told(step, report, state.record)
        match report.outcome:
            case "starting":
                delivery.waits += 1
                # What it failed of before says more than that it is starting once more.
                told = delivery.last_failure or report
                self._retry(step, delivery, told, _growing(_STARTING_RETRY_S, delivery))
            case "waiting":
                self._wait(step, entry, delivery, report)
            case "superseded":
                pass  # the newer generation is planned next
            case "failed":
                await self._failed(step, delivery, report)
            case "inactive" if delivery.failed_attempts > 0:
                await self._failed(step, delivery, _went_down(step.unit, report))
            case "acted" | "current" if entry.require_ack and not _acknowledged(step, state):
                delivery.waits += 1
                waiting = replace(report, outcome="unacknowledged")
                self._retry(step, delivery, waiting, _growing(_ACK_RETRY_S, delivery))
            case _:
                delivery.failed_attempts = 0
                self._show(delivery, step, report)
                event = (
                    "unit is not running" if report.outcome == "inactive" else "unit has loaded the bundle"
                )
                log.info(event, extra={**_fields(step), "outcome": report.outcome})
                await self._notebook.record_loaded(step.bundle, step.unit, step.generation)

    def _wait(self, step: NotifyUnit, entry: OnChange, delivery: Delivery, report: UnitReport) -> None:
        """The unit may not be touched yet: sets when it is looked at again, and alarms in time."""
        now = time.monotonic()
        wait = delivery.wait or WaitUntil(Reason.BEFORE, None)
        if entry.before is None:
            delivery.agreed()  # it was taken out of the configuration meanwhile
        elif wait.reason is Reason.BEFORE:
            delivery.refused(now)
        delay_s = look_again_s(wait, now=time.time(), refusals=delivery.refusals)
        if delivery.unwilling_since is not None:
            alarm_in_s = delivery.unwilling_since + entry.before_alarm_s - now
            if alarm_in_s > 0:
                delay_s = min(delay_s, alarm_in_s)
            else:
                report = _overdue(step.unit, report, entry.before_alarm_s)
                self._alarm(step, delivery, report)
        if not delivery.is_overdue and (not delivery.report or delivery.report.message != report.message):
            log.info("unit waits", extra={**_fields(step), "reason": report.message})
        self._retry(step, delivery, report, delay_s)

    def _alarm(self, step: NotifyUnit, delivery: Delivery, report: UnitReport) -> None:
        if not delivery.is_overdue:
            delivery.is_overdue = True
            reasons = {"reason": report.message, "advice": report.advice}
            log.error("unit is kept from loading the bundle", extra={**_fields(step), **reasons})

    async def _failed(self, step: NotifyUnit, delivery: Delivery, report: UnitReport) -> None:
        delivery.failed_attempts += 1
        delivery.last_failure = report
        delay_s = retry_delay(delivery.failed_attempts, random.random(), first_s=_FIRST_RETRY_S)
        self._retry(step, delivery, report, delay_s)
        reasons = {"reason": report.message, "advice": report.advice, "retry_in_s": round(delay_s, 1)}
        log.warning("unit has not loaded the bundle", extra={**_fields(step), **reasons})
        await self._notebook.record_failed(step.bundle, step.unit, step.generation)

    def _retry(self, step: NotifyUnit, delivery: Delivery, report: UnitReport, delay_s: float) -> None:
        self._arm(step.bundle, step.unit, delivery, delay_s)
        self._show(delivery, step, report)

    def _arm(self, bundle: str, unit: str, delivery: Delivery, delay_s: float) -> None:
        delivery.retry_at = time.monotonic() + delay_s
        key = (bundle, unit)
        if key in self._retries:
            self._retries[key].cancel()
        # A little later than retry_at, or the plan would find it not due yet.
        self._retries[key] = asyncio.get_running_loop().call_later(delay_s + 0.01, self._again, bundle)

    def _show(self, delivery: Delivery, step: NotifyUnit, report: UnitReport) -> None:
        delivery.generation = step.generation
        delivery.report = report
        delivery.reported_at = time.monotonic()
        if report.outcome != "waiting":
            delivery.wait = None
        self._changes.announce()


def _fields(step: NotifyUnit) -> dict[str, object]:
    return {"bundle": step.bundle, "unit": step.unit, "generation": step.generation}


def _acknowledged(step: NotifyUnit, state: BundleState) -> bool:
    return state.entry.loaded.get(step.unit, 0) >= step.generation


def _growing(first_s: float, delivery: Delivery) -> float:
    """Twice as long each time, up to ten times the first, in seconds."""
    return min(10 * first_s, first_s * 2.0 ** min(delivery.waits - 1, 8))


def _went_down(unit: str, report: UnitReport) -> UnitReport:
    """A unit that is down because it was told is no unit that nobody has started."""
    advice = f"see why: journalctl -u {unit} -n 50; then systemctl start {unit}"
    return replace(report, outcome="failed", advice=advice)


def _overdue(unit: str, report: UnitReport, alarm_s: float) -> UnitReport:
    """`before` has kept the unit from being told for too long."""
    message = f"{report.message}; before has kept it waiting for longer than before_alarm ({alarm_s:g} s)"
    advice = f"find out why before does not agree, or load it now: systemctl restart {unit}; {report.advice}"
    return replace(report, message=message, advice=advice)
