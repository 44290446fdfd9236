"""One try to bring one unit to one generation: may it be touched, touch it, see that it stays up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import assert_never

from secretsd.config.on_change import OnChange
from secretsd.model import UnitReport
from secretsd.notify import client
from secretsd.refresh.plan import NotifyUnit
from secretsd.refresh.state import BundleState, Delivery
from secretsd.refresh.units.gates import Go, Reason, WaitUntil, gate

_FOR_BEFORE = WaitUntil(Reason.BEFORE, None)


@dataclass(frozen=True, slots=True)
class Attempt:
    """All that one try needs."""

    step: NotifyUnit
    entry: OnChange
    state: BundleState
    socket_path: str  # the notify helper's
    host: str  # this host's name
    asking: asyncio.Semaphore  # held while `before` is asked
    show: Callable[[UnitReport], None]  # what is known so far
    record_restart: Callable[[float], Awaitable[None]]  # at, in seconds since the epoch

    async def run(self) -> UnitReport:
        """How the unit took it. "waiting" has its reason in the delivery's `wait`."""
        if self.entry.action == "none":
            return UnitReport("acted")
        report = (await self._kept_back() if self.entry.is_gated else None) or await self._act()
        acted_monotonic = time.monotonic()
        # A unit that has failed on this generation and started anew must prove itself once more.
        doubtful = report.outcome == "current" and self._delivery.failed_attempts > 0
        if self.entry.confirm_s == 0 or not (doubtful or report.outcome == "acted"):
            return report
        self.show(replace(report, outcome="confirming"))
        await asyncio.sleep(self.entry.confirm_s)
        return await client.confirm(
            self.socket_path,
            bundle=self.step.bundle,
            unit=self.step.unit,
            invocation=report.invocation,
            acted_monotonic=acted_monotonic,
        )

    @property
    def _delivery(self) -> Delivery:
        return self.state.delivery(self.step.unit)

    # --- may it be touched -----------------------------------------------------------------------------

    async def _kept_back(self) -> UnitReport | None:
        """Why the unit is not to be touched now; None where it is.

        What is kept back is looked at first: a unit that has loaded the files by itself, or is not running,
        waits for nothing.
        """
        verdict = self._gate()
        if isinstance(verdict, Go) and self.entry.before is None:
            return None
        seen = await client.look(
            self.socket_path,
            bundle=self.step.bundle,
            unit=self.step.unit,
            generation=self.step.generation,
            published_monotonic=self._published_monotonic,
        )
        if seen.outcome != "due":
            return seen
        return self._waits(verdict) if isinstance(verdict, WaitUntil) else await self._asked()

    def _gate(self) -> Go | WaitUntil:
        now, record = time.time(), self.state.record
        return gate(
            self.entry,
            bundle=self.step.bundle,
            now=now,
            published_at=record.published_at if record else now,
            host=self.host,
            restarts=self.state.entry.restarts.get(self.step.unit, ()),
        )

    async def _asked(self) -> UnitReport | None:
        """What keeps the unit from being touched, by its `before`; None where nothing does."""
        # What it said before stays in sight while it is asked once more.
        if self._delivery.wait != _FOR_BEFORE:
            program = self.entry.before[0] if self.entry.before else ""
            self.show(self._waits(_FOR_BEFORE, f"{program} is being asked"))
        async with self.asking:
            answer = await client.before(
                self.socket_path,
                bundle=self.step.bundle,
                unit=self.step.unit,
                generation=self.step.generation,
                before_timeout_s=self.entry.before_timeout_s,
            )
        if answer.outcome == "unwilling":
            return self._waits(_FOR_BEFORE, answer.message, answer.advice)
        if answer.outcome != "willing":
            return answer
        self._delivery.agreed()
        # Its answer may have taken minutes.
        verdict = self._gate()
        if isinstance(verdict, WaitUntil):
            return self._waits(verdict)
        if self.state.record is not None and self.state.record.generation != self.step.generation:
            return UnitReport("superseded")
        return None

    def _waits(self, wait: WaitUntil, message: str = "", advice: str = "") -> UnitReport:
        self._delivery.wait = wait
        return UnitReport("waiting", message or _why(wait, self.entry), advice or _load_now(self.step.unit))

    # --- touch it --------------------------------------------------------------------------------------

    async def _act(self) -> UnitReport:
        report = await client.act(
            self.socket_path,
            bundle=self.step.bundle,
            unit=self.step.unit,
            generation=self.step.generation,
            published_monotonic=self._published_monotonic,
        )
        # One that failed leaves a unit that is down or starts by itself, and neither is restarted again.
        if report.outcome == "acted" and self.entry.max_restarts_per_hour is not None:
            await self.record_restart(time.time())
        return report

    @property
    def _published_monotonic(self) -> float:
        return self.state.record.published_monotonic if self.state.record else time.monotonic()


def _why(wait: WaitUntil, entry: OnChange) -> str:
    unit, when = entry.unit, _date(wait.at)
    match wait.reason:
        case Reason.WINDOW if wait.at is None:
            return f"{unit} waits for a window, and none is to come: secretsctl check-config says why"
        case Reason.WINDOW:
            return f"{unit} waits for its window, which opens {when}"
        case Reason.STAGGER:
            return f"{unit} is told {when}: stagger spreads the hosts"
        case Reason.RESTART_LIMIT:
            limit = f"max_restarts_per_hour = {entry.max_restarts_per_hour}"
            return f"{unit} was restarted too often ({limit}); the next restart is due {when}"
        case Reason.BEFORE:
            return f"{unit} waits for its before"
        case _:
            assert_never(wait.reason)


def _load_now(unit: str) -> str:
    return f"nothing needs to be done; to have it loaded now: systemctl restart {unit}"


def _date(moment: float | None) -> str:
    return "" if moment is None else f"{datetime.fromtimestamp(moment, UTC):%a %Y-%m-%d %H:%M:%S} UTC"
