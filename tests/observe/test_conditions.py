"""What of a bundle's state is a trouble, how grave, and how long it may last untold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from secretsd.config.models import Config
from secretsd.errors import Failure, FailureClass
from secretsd.model import PublishRecord, UnitReport
from secretsd.observe.conditions import QUIET_S, UNDER_WAY_S, situation
from secretsd.observe.telling import Condition, Trouble
from secretsd.refresh.journal import Entry
from secretsd.refresh.state import BundleState, Drift

COMMAND = ["/bin/true"]
UNIT = "bot.service"
NOW = 10_000.0
MONOTONIC = 500_000.0
AFTER_S = 120.0
RECORD = PublishRecord("bot", 3, 9000.0, 50.0, "d", (), ("TOKEN",), (), ())


def configured(*, on_change: bool = True, daemon: Any = None, **bundle: object) -> Config:
    entry = {"unit": UNIT, "action": "reload"}
    return Config.model_validate(
        {
            "daemon": {"alert_command": COMMAND} if daemon is None else daemon,
            "sources": {"aws": {"type": "aws-secretsmanager"}},
            "bundles": {
                "bot": {
                    "secrets": [{"source": "aws", "id": "prod/bot", "variable": "TOKEN"}],
                    "on_change": [entry] if on_change else [],
                    **bundle,
                }
            },
        }
    )


def healthy(**fields: object) -> BundleState:
    return BundleState(record=RECORD, entry=Entry(3, {UNIT: 3}), begun=1, ended=1, **fields)  # type: ignore[arg-type]


def failed(*classes: FailureClass) -> BundleState:
    state = healthy()
    state.fail(
        tuple(Failure(f"code-{each}", each, f"{each} it is", "mend it", "prod/bot") for each in classes),
        wall=9500.0,
    )
    return state


def wrong(state: BundleState, config: Config | None = None, *, now: float = NOW) -> list[Condition]:
    seen = situation(config or configured(), {"bot": state}, now=now, monotonic=MONOTONIC)
    return list(seen.conditions.values())


def test_a_bundle_that_is_well_is_no_trouble() -> None:
    assert wrong(healthy()) == []


@pytest.mark.parametrize(
    ("failure_class", "event", "delay_s"),
    [
        (FailureClass.REFUSAL, "refused", 0.0),
        (FailureClass.DATA, "failed", 0.0),
        (FailureClass.IDENTITY, "failed", AFTER_S),
        (FailureClass.IO, "failed", AFTER_S),
        (FailureClass.TRANSIENT, "stale", AFTER_S),
    ],
)
def test_what_only_somebody_can_mend_is_told_at_once(
    failure_class: FailureClass, event: str, delay_s: float
) -> None:
    (condition,) = wrong(failed(failure_class))
    assert (condition.event, condition.delay_s) == (event, delay_s)
    assert condition.trouble == Trouble("bot", "refresh")
    assert (condition.failure_class, condition.code) == (failure_class.value, f"code-{failure_class}")
    assert (condition.generation, condition.since, condition.advice) == (3, 9500.0, "mend it")
    assert condition.message == f"{failure_class} it is; the last good generation stays"


def test_the_gravest_of_several_failures_is_told_and_the_others_are_counted() -> None:
    (condition,) = wrong(failed(FailureClass.TRANSIENT, FailureClass.REFUSAL, FailureClass.DATA))
    assert condition.event == "refused"
    assert "2 more: secretsctl status bot" in condition.message


def test_that_nothing_is_published_is_said() -> None:
    state = failed(FailureClass.TRANSIENT)
    state.forget()
    (condition,) = wrong(state)
    assert condition.message.endswith("nothing is published")
    assert condition.generation is None


def test_another_secret_that_fails_is_another_event_and_another_kind_of_outage_is_not() -> None:
    def kind(failure: Failure) -> tuple[str, str]:
        state = healthy()
        state.fail((failure,), wall=9500.0)
        return wrong(state)[0].kind

    denied = Failure("access-denied", FailureClass.REFUSAL, "no", "ask", "prod/bot")
    assert kind(denied) != kind(replace(denied, secret="prod/other"))
    unknown = Failure("unknown-credentials", FailureClass.IDENTITY, "no", "ask", "prod/bot")
    assert kind(unknown) == kind(replace(unknown, secret="prod/other")), "it is about who we are"
    assert kind(unknown) != kind(replace(unknown, code="expired-credentials"))
    away = Failure("unreachable", FailureClass.TRANSIENT, "no", "wait", "prod/bot")
    assert kind(away) == kind(replace(away, code="throttled", secret="prod/other"))


def test_altered_files_are_a_trouble_until_they_were_left_alone() -> None:
    state = healthy(drift=Drift(1, NOW, ("env has mode 0644",), is_open=True))
    (condition,) = wrong(state)
    assert (condition.event, condition.delay_s, condition.since) == ("drift", 0.0, NOW)
    assert "env has mode 0644" in condition.message
    state.drift.is_open = False
    assert wrong(state, now=NOW + QUIET_S - 1), "repaired in milliseconds, and told all the same"
    assert wrong(state, now=NOW + QUIET_S) == []


def not_loaded(report: UnitReport | None = None, *, generation: int = 3, **fields: object) -> list[Condition]:
    state = healthy()
    state.entry = Entry(3, {UNIT: 2})
    delivery = state.delivery(UNIT)
    delivery.generation, delivery.report = generation, report
    for name, value in fields.items():
        setattr(delivery, name, value)
    return wrong(state)


def test_a_unit_that_has_failed_says_why_even_while_it_starts_again() -> None:
    report = UnitReport("failed", "the job failed", "see journalctl")
    for seen in (report, UnitReport("starting")):
        (condition,) = not_loaded(seen, failed_attempts=1, last_failure=report)
        assert condition.trouble == Trouble("bot", UNIT)
        assert (condition.event, condition.code, condition.delay_s) == ("not-loaded", "failed", AFTER_S)
        assert condition.message == "bot.service has not loaded generation 3 of bot: the job failed"
        assert (condition.advice, condition.since) == ("see journalctl", 9000.0)


@pytest.mark.parametrize(
    ("report", "code", "why"),
    [
        (UnitReport("unacknowledged"), "unacknowledged", "was told and has not acknowledged"),
        (UnitReport("starting"), "starting", "has not started its main process yet"),
        (None, "pending", "has not been told yet"),
    ],
)
def test_a_unit_that_never_comes_to_it_is_told_too(report: UnitReport | None, code: str, why: str) -> None:
    (condition,) = not_loaded(report)
    assert condition.code == code
    assert why in condition.message
    assert "journalctl -u bot.service" in condition.advice


def test_a_unit_that_is_being_told_is_no_trouble_yet_however_impatient_the_operator() -> None:
    state = healthy()
    state.entry = Entry(3, {UNIT: 2})
    (condition,) = wrong(state, configured(alert_after="0"))
    assert condition.delay_s == UNDER_WAY_S
    state.delivery(UNIT).failed_attempts = 1
    (condition,) = wrong(state, configured(alert_after="0"))
    assert condition.delay_s == 0.0


def test_what_was_said_of_an_older_generation_is_not_said_of_this_one() -> None:
    (condition,) = not_loaded(UnitReport("failed", "the job failed"), generation=2)
    assert condition.code == "pending"


def test_a_unit_that_waits_as_it_was_configured_to_is_well() -> None:
    assert not_loaded(UnitReport("confirming")) == []


def test_a_unit_that_its_before_command_holds_back_for_too_long_is_told_at_once() -> None:
    assert not_loaded(UnitReport("waiting")) == []
    failure = UnitReport("failed", "the job failed")
    (condition,) = not_loaded(UnitReport("waiting"), is_overdue=True, last_failure=failure)
    assert (condition.code, condition.delay_s) == ("held-back", 0.0)
    assert "its before command has said no for too long" in condition.message


def test_nobody_is_told_without_a_command_and_a_bundles_own_settings_win() -> None:
    state = failed(FailureClass.TRANSIENT)
    assert wrong(state, configured(daemon={})) == []
    assert wrong(state, configured(alert_command=[])) == []
    (condition,) = wrong(state, configured(daemon={}, alert_command=COMMAND, alert_after="5s"))
    assert condition.delay_s == 5.0
    (condition,) = wrong(state, configured(alert_after="0"))
    assert condition.delay_s == 0.0


def test_before_its_first_refresh_has_ended_nothing_is_known_of_a_bundle() -> None:
    state = BundleState()
    seen = situation(configured(), {"bot": state}, now=NOW, monotonic=MONOTONIC)
    assert Trouble("bot", "refresh") in seen.unknown
    state.ended = 1
    assert not situation(configured(), {"bot": state}, now=NOW, monotonic=MONOTONIC).unknown


def confirmed(age_s: float) -> BundleState:
    return healthy(confirmed_at=NOW - age_s, confirmed_monotonic=MONOTONIC - age_s)


def test_what_gets_old_is_told_before_and_when_it_is_too_old() -> None:
    config = configured(max_age="4h")
    assert wrong(confirmed(3 * 3600.0 - 1), config) == []
    (near,) = wrong(confirmed(3 * 3600.0), config)
    assert (near.event, near.code, near.trouble) == ("aging", "max-age-near", Trouble("bot", "age"))
    assert near.message == (
        "bot was last confirmed by its source 3 h ago; its max_age is 4 h: no unit will start on it then"
    )
    (reached,) = wrong(confirmed(4 * 3600.0 + 1), config)
    assert reached.code == "max-age-reached"
    assert reached.kind != near.kind, "it is told again"


def test_the_age_is_not_the_wall_clocks() -> None:
    state = confirmed(60.0)
    assert wrong(state, configured(max_age="4h"), now=NOW + 30 * 86400.0) == []


def test_without_a_max_age_nothing_gets_old() -> None:
    assert wrong(confirmed(400_000.0)) == []
