"""What each command of the control socket does."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial

from secretsd.control import check, cost, doctor
from secretsd.control.drafting import schema
from secretsd.control.overruling import diff, history, hold, resume, rollback
from secretsd.control.planning import describe_plan
from secretsd.control.protocol import Reply
from secretsd.control.report import document
from secretsd.control.requests import Request, must_know, seconds
from secretsd.control.settling import settled
from secretsd.errors import ConfigError, ExitCode, UsageError
from secretsd.refresh.conductor import Conductor
from secretsd.refresh.state import BundleState
from secretsd.timespan import spoken

_STALE_ALL_THE_SAME = "To start on it all the same: wait with --allow-stale, or a longer max_age."
_WAIT_TIMEOUT_S = 30.0
_RELOAD_TIMEOUT_S = 60.0


class Commands:
    """The commands of one conductor; who may run them was decided before."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._for_any: dict[str, Callable[[str | None, Request], Awaitable[Reply]]] = {
            "status": self._status,
            "reload": self._reload,
            "plan": self._plan,
            "alert-test": self._alert_test,
            "doctor": self._doctor,
            "cost": self._cost,
        }
        self._for_one: dict[str, Callable[[str, Request], Awaitable[Reply]]] = {
            "wait": self._wait,
            "ack": self._ack,
            "diff": partial(diff, conductor),
            "history": partial(history, conductor),
            "hold": partial(hold, conductor),
            "resume": partial(resume, conductor),
            "rollback": partial(rollback, conductor),
            "schema": partial(schema, conductor),
        }

    async def run(self, command: str, bundle: str | None, request: Request) -> Reply:
        """Raises: SecretsdError."""
        if command not in self._for_any and command not in self._for_one:
            raise UsageError(f"unknown command {command!r}")
        # `reload` names a bundle that perhaps only the new configuration knows, `schema` one that is to come.
        if bundle is not None and command not in ("reload", "schema"):
            must_know(bundle, self._conductor.config.bundles)
        if command in self._for_any:
            return await self._for_any[command](bundle, request)
        if bundle is None:
            raise UsageError(f"{command} needs a bundle's name")
        return await self._for_one[command](bundle, request)

    def status(self, names: Collection[str]) -> Reply:
        return Reply(body=document(self._conductor, names))

    async def _status(self, bundle: str | None, _request: Request) -> Reply:
        return self.status(self._names(bundle))

    async def _wait(self, bundle: str, request: Request) -> Reply:
        deadline = time.monotonic() + seconds(request, "timeout", _WAIT_TIMEOUT_S)
        state = self._conductor.states[bundle]
        if not await self._is_served(bundle, deadline):
            what = "is not published" if state.record is None else "was altered on this host"
            return Reply(ExitCode.TRY_AGAIN, f"{bundle} {what}: {_why(state)}")
        own = self._conductor.config.bundles[bundle].max_age_s
        max_age_s = seconds(request, "max_age", own, longest_s=float("inf"))
        if max_age_s is not None and not await self._is_fresh(bundle, state, max_age_s, deadline):
            sentence = (
                f"{bundle} was last confirmed {_age(state)}, allowed are {spoken(max_age_s)}: {_why(state)}"
            )
            if not request.get("allow_stale"):
                return Reply(ExitCode.TRY_AGAIN, f"{sentence.rstrip('.')}. {_STALE_ALL_THE_SAME}")
            return Reply(ExitCode.OK, f"stale, used all the same: {sentence}")
        # Most likely before a start of the unit, which makes waiting for a window needless.
        self._conductor.bundles.expect_start(bundle)
        return Reply(body={"generation": state.record.generation if state.record else None})

    async def _is_served(self, bundle: str, deadline: float) -> bool:
        """Whether every file of the bundle is there as it was published; one that was altered is mended."""
        if not self._conductor.bundles.is_intact(bundle):
            self._conductor.look()
        return await self._until(lambda: self._conductor.bundles.is_intact(bundle), deadline)

    async def _is_fresh(self, bundle: str, state: BundleState, max_age_s: float, deadline: float) -> bool:
        def fresh() -> bool:
            at = state.confirmed_monotonic
            return at is not None and time.monotonic() - at <= max_age_s

        if not fresh():
            # The refresh's end is not awaited beyond the deadline; it goes on by itself.
            target = self._conductor.request_refresh({bundle})[bundle]
            await self._until(lambda: fresh() or state.ended >= target, deadline)
        return fresh()

    async def _reload(self, bundle: str | None, request: Request) -> Reply:
        deadline = time.monotonic() + seconds(request, "timeout", _RELOAD_TIMEOUT_S)
        try:
            await self._conductor.reload_configuration()
        except ConfigError as error:
            problems = [*error.problems, "the running configuration stays in force"]
            mistakes = "a mistake" if len(error.problems) == 1 else f"{len(error.problems)} mistakes"
            return Reply(ExitCode.CONFIG, f"{mistakes} in the configuration", {"lines": problems})
        try:
            names = self._names(bundle)
        except UsageError as error:
            raise UsageError(f"{error}; the configuration was read and is in force") from None
        began = time.monotonic()
        targets = self._conductor.request_refresh(names)
        self._conductor.hurry_deliveries(names)
        return await settled(self._conductor, targets, began=began, deadline=deadline)

    async def _plan(self, bundle: str | None, _request: Request) -> Reply:
        names = self._names(bundle)
        steps = await self._conductor.dry_run(names)
        return Reply(body={"steps": describe_plan(self._conductor, steps)})

    async def _ack(self, bundle: str, request: Request) -> Reply:
        generation = request.get("generation")
        if not isinstance(generation, int) or isinstance(generation, bool):
            raise UsageError("ack needs a generation")
        if await self._conductor.bundles.acknowledge(bundle, generation):
            return Reply()
        sentence = f"generation {generation} is not what {bundle} has published"
        return Reply(ExitCode.DATA, f"{sentence}: read the files again")

    async def _alert_test(self, bundle: str | None, _request: Request) -> Reply:
        wrong = await self._conductor.alerts.test(bundle)
        if wrong is None:
            of = f"bundle {bundle}" if bundle else "[daemon]"
            return Reply(ExitCode.CONFIG, f"{of} has no alert_command: see secretsd.toml(5)")
        if wrong:
            advice = "run it by hand as the user secretsd, see /usr/share/doc/secretsd/alerts.md"
            return Reply(ExitCode.IO, f"nobody may have heard it: {wrong}", {"advice": advice})
        return Reply(message="the alert command was told of a test event, and ended well")

    async def _doctor(self, _bundle: str | None, _request: Request) -> Reply:
        checks = await doctor.examine(self._conductor)
        return Reply(body={"config": str(self._conductor.config_path), "checks": check.encoded(checks)})

    async def _cost(self, _bundle: str | None, _request: Request) -> Reply:
        calls = self._conductor.bundles.sources.calls
        return Reply(body=cost.document(self._conductor.config, calls.days, calls.today))

    async def _until(self, condition: Callable[[], bool], deadline: float) -> bool:
        return await self._conductor.changes.until(condition, deadline - time.monotonic())

    def _names(self, bundle: str | None) -> list[str]:
        if bundle is None:
            return list(self._conductor.config.bundles)
        must_know(bundle, self._conductor.config.bundles)
        return [bundle]


def _why(state: BundleState) -> str:
    if state.failures:
        return f"{state.failures[0].message}; {state.failures[0].advice}"
    return "its first refresh has not ended yet" if state.ended == 0 else "its next refresh is under way"


def _age(state: BundleState) -> str:
    if state.confirmed_monotonic is None:
        return "before this start of secretsd"
    return f"{spoken(time.monotonic() - state.confirmed_monotonic)} ago"
