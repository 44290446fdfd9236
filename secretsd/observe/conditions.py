"""What is wrong with each bundle now, as an alert command will be told. Pure: looks at states only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from secretsd.config.models import Bundle, Config
from secretsd.config.on_change import OnChange
from secretsd.errors import Failure, FailureClass
from secretsd.observe.telling import REFRESH, Condition, EventName, Situation, Trouble
from secretsd.refresh.plan import must_load
from secretsd.refresh.state import BundleState, Delivery
from secretsd.timespan import spoken

FILES, AGE = "files", "age"
WARNED_FROM = 0.75  # of a bundle's max_age
UNDER_WAY_S = 60.0  # a unit that has not failed is given this long at least
QUIET_S = 60.0  # files that were altered are well when they have been left alone for this long

# What the source or the configuration must mend: the next refresh does not.
_AT_ONCE = frozenset({FailureClass.REFUSAL, FailureClass.DATA})
_EVENTS: Mapping[FailureClass, EventName] = {
    FailureClass.REFUSAL: "refused",
    FailureClass.DATA: "failed",
    FailureClass.IDENTITY: "failed",
    FailureClass.IO: "failed",
    FailureClass.TRANSIENT: "stale",
}
_GRAVEST_FIRST = tuple(_EVENTS)

# A unit that waits for these is as it was configured to be.
_AS_CONFIGURED = frozenset({"confirming", "waiting"})
_UNDER_WAY = {
    "starting": "it has not started its main process yet",
    "unacknowledged": "it was told and has not acknowledged",
    "waiting": "its before command has said no for too long",
}
_LOOK = "see secretsctl status {bundle}, journalctl -u {unit} -n 50"


def situation(
    config: Config, states: Mapping[str, BundleState], *, now: float, monotonic: float
) -> Situation:
    """Everything that is wrong with the configured bundles; `now` is in seconds since the epoch."""
    bundles = {name: bundle for name, bundle in config.bundles.items() if name in states}
    conditions = [
        condition
        for name, bundle in bundles.items()
        if config.alert_command(name)
        for condition in (
            *_conditions(name, bundle, states[name], config.alert_after_s(name), now),
            *_aging(name, bundle, states[name], monotonic),
        )
    ]
    return Situation(
        conditions={condition.trouble: condition for condition in conditions},
        # Before its first refresh has ended, a bundle that was in trouble may still be.
        unknown=frozenset(Trouble(name, REFRESH) for name in bundles if not states[name].ended),
        commands={"": config.daemon.alert_command, **{name: config.alert_command(name) for name in bundles}},
        limit=config.daemon.alert_limit,
    )


def _conditions(
    name: str, bundle: Bundle, state: BundleState, after_s: float, now: float
) -> Iterator[Condition]:
    if state.failures:
        yield _not_refreshed(name, state, after_s)
    if _is_drifting(state, now):
        yield _altered(name, state)
    if state.record is not None:
        generation = state.record.generation
        for entry in bundle.on_change:
            if must_load(entry) and state.entry.loaded.get(entry.unit, 0) < generation:
                yield from _not_loaded(name, entry, state, generation, after_s)


def _not_refreshed(name: str, state: BundleState, after_s: float) -> Condition:
    gravest = min(state.failures, key=lambda failure: _GRAVEST_FIRST.index(failure.failure_class))
    event = _EVENTS[gravest.failure_class]
    others = len(state.failures) - 1
    more = f"; {others} more: secretsctl status {name}" if others else ""
    return Condition(
        trouble=Trouble(name, REFRESH),
        event=event,
        message=f"{gravest.message}; {state.kept()}{more}",
        advice=gravest.advice,
        failure_class=gravest.failure_class.value,
        code=gravest.code,
        generation=_generation(state),
        since=state.failing_since,
        delay_s=0.0 if gravest.failure_class in _AT_ONCE else after_s,
        distinction=_distinction(event, gravest),
    )


def _aging(name: str, bundle: Bundle, state: BundleState, monotonic: float) -> Iterator[Condition]:
    age_s = state.age_s(monotonic)
    if bundle.max_age_s is None or age_s is None or age_s < bundle.max_age_s * WARNED_FROM:
        return
    reached = age_s > bundle.max_age_s
    limit = f"its max_age is {spoken(bundle.max_age_s)}"
    meaning = "no unit starts on it any more" if reached else "no unit will start on it then"
    yield Condition(
        trouble=Trouble(name, AGE),
        event="aging",
        message=f"{name} was last confirmed by its source {spoken(age_s)} ago; {limit}: {meaning}",
        advice=f"see secretsctl status {name} for why; after a longer max_age systemctl reload secretsd",
        code="max-age-reached" if reached else "max-age-near",
        generation=_generation(state),
        since=state.confirmed_at,
        distinction="reached" if reached else "near",
    )


def _distinction(event: EventName, failure: Failure) -> str:
    # An outage has many faces (a timeout, a 500, a reset) and one cause.
    if event == "stale":
        return ""
    # Who we are, and this host, are the same for every secret.
    if failure.failure_class not in _AT_ONCE:
        return failure.code
    return " ".join(filter(None, (failure.code, failure.secret, failure.variable)))


def _is_drifting(state: BundleState, now: float) -> bool:
    drift = state.drift
    return drift.is_open or (drift.last_at is not None and 0 <= now - drift.last_at < QUIET_S)


def _altered(name: str, state: BundleState) -> Condition:
    drift = state.drift
    return Condition(
        trouble=Trouble(name, FILES),
        event="drift",
        message=f"published files of {name} were altered: {'; '.join(drift.last) or 'see the journal'}",
        advice=f"secretsd repairs them; find out who did it: secretsctl status {name}, journalctl",
        code="altered",
        generation=_generation(state),
        since=drift.last_at,
    )


def _not_loaded(
    name: str, entry: OnChange, state: BundleState, generation: int, after_s: float
) -> Iterator[Condition]:
    unit, delivery = entry.unit, state.delivery(entry.unit)
    report = delivery.report if delivery.generation == generation else None
    if report is not None and report.outcome in _AS_CONFIGURED and not delivery.is_overdue:
        return
    # What it failed of before says more than that it is starting once more, but not more than an alarm.
    said_before = delivery.last_failure if report is not None and not delivery.is_overdue else None
    told = said_before or report
    outcome = told.outcome if told is not None else "pending"
    why = (told.message if told is not None else "") or _UNDER_WAY.get(outcome, "it has not been told yet")
    published_at = state.record.published_at if state.record else None
    yield Condition(
        trouble=Trouble(name, unit),
        event="not-loaded",
        message=f"{unit} has not loaded generation {generation} of {name}: {why}",
        advice=(told.advice if told is not None else "") or _LOOK.format(bundle=name, unit=unit),
        code=_code(delivery, outcome),
        generation=generation,
        since=published_at,
        delay_s=_patience_s(delivery, after_s),
    )


def _code(delivery: Delivery, outcome: str) -> str:
    if delivery.is_overdue:
        return "held-back"
    return "failed" if delivery.failed_attempts else outcome


def _patience_s(delivery: Delivery, after_s: float) -> float:
    if delivery.is_overdue:
        return 0.0  # before_alarm was patience enough
    # To tell a unit takes a while, and so does its start: with alert_after = "0", too.
    return after_s if delivery.failed_attempts else max(after_s, UNDER_WAY_S)


def _generation(state: BundleState) -> int | None:
    return state.record.generation if state.record else None
