"""Telling units: at least once, in the face of a helper that fails, hangs or is not there."""

from __future__ import annotations

import asyncio
import time

import pytest

from secretsd.model import UnitReport
from secretsd.notify import client
from secretsd.notify.protocol import ActRequest, ConfirmRequest
from secretsd.refresh import journal
from secretsd.refresh.units import delivery
from tests.refresh.daemon import TOLD, UNIT, Daemon, Home, a_bundle, live
from tests.refresh.fakes import INVOCATION, FakeHelper

ACTED = UnitReport("acted", invocation=INVOCATION, main_pid=1)
CURRENT = UnitReport("current", invocation=INVOCATION, main_pid=1)
FAILED = UnitReport("failed", "the job failed", "see journalctl")
CONFIRMED = TOLD.replace('confirm = "0"', 'confirm = "20ms"')
ACKNOWLEDGED = TOLD + "require_ack = true\n"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come after 20 ms."""
    monkeypatch.setattr(delivery, "retry_delay", lambda *_, **__: 0.02)
    monkeypatch.setattr(delivery, "_STARTING_RETRY_S", 0.02)
    monkeypatch.setattr(delivery, "_ACK_RETRY_S", 0.02)


def outcome_of(daemon: Daemon) -> str:
    report = daemon.state().delivery(UNIT).report
    return report.outcome if report else ""


def is_retried(daemon: Daemon) -> bool:
    told = daemon.state().delivery(UNIT)
    return told.failed_attempts > 0 and not told.in_progress


@pytest.mark.parametrize("outcome", ["acted", "current", "inactive"])
def test_a_unit_that_has_it_or_need_not_have_it_counts_as_loaded_and_is_left_alone(
    home: Home, outcome: str
) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            helper.answers = [UnitReport(outcome)]
            await daemon.loaded()
            await daemon.refresh()
            await daemon.settled()
            assert helper.told == [(UNIT, 1)]
            assert daemon.status()["state"] == "loaded"
        assert journal.read(home.state_dir)["bot"].loaded == {UNIT: 1}

    live(scenario())


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("outcome", ["failed", "starting"])
def test_a_unit_that_could_not_be_told_is_told_until_it_has_succeeded(home: Home, outcome: str) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            helper.answers = [UnitReport(outcome, "no", "fix"), UnitReport(outcome, "no", "fix"), ACTED]
            await daemon.until(lambda: daemon.generation() == 1)
            daemon.conductor.bundles.be_ready()
            await daemon.loaded()
            assert helper.told == [(UNIT, 1)] * 3

    live(scenario())


def test_a_failure_is_visible_with_its_advice_and_not_hammered(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            helper.answers = [FAILED]
            await daemon.until(lambda: daemon.generation() == 1)
            daemon.conductor.bundles.be_ready()
            await daemon.until(lambda: is_retried(daemon))
            await daemon.refresh()
            await daemon.settled()
            assert helper.told == [(UNIT, 1)]
            assert daemon.state().delivery(UNIT).retry_at > time.monotonic()
            status = daemon.status()
            assert status["state"] == "published"
            (unit,) = status["units"]
            assert (unit["state"], unit["message"], unit["advice"]) == (
                "failed",
                FAILED.message,
                FAILED.advice,
            )
        assert journal.read(home.state_dir)["bot"].loaded == {}

    live(scenario())


def test_a_missing_helper_is_a_failure_that_names_its_socket(home: Home) -> None:
    async def scenario() -> None:
        async with Daemon(home) as daemon:
            await daemon.until(lambda: is_retried(daemon))
            assert home.socket in daemon.status()["units"][0]["message"]
            async with home.helper() as helper:
                daemon.conductor.hurry_deliveries(["bot"])
                await daemon.loaded()
                assert helper.told == [(UNIT, 1)]

    live(scenario())


def test_an_operator_who_asks_does_not_wait_for_the_backoff(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            helper.answers = [FAILED, ACTED]
            await daemon.until(lambda: daemon.generation() == 1)
            daemon.conductor.bundles.be_ready()
            await daemon.until(lambda: is_retried(daemon))
            daemon.conductor.hurry_deliveries(["bot"])
            await daemon.loaded()
            assert helper.told == [(UNIT, 1)] * 2

    live(scenario())


def test_a_new_generation_does_not_wait_for_the_backoff_of_the_old_one(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "retry_delay", lambda *_, **__: 60.0)

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            helper.answers = [FAILED, ACTED]
            await daemon.until(lambda: daemon.generation() == 1)
            daemon.conductor.bundles.be_ready()
            await daemon.until(lambda: is_retried(daemon))
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            await daemon.loaded(generation=2)
            assert helper.told == [(UNIT, 1), (UNIT, 2)]

    live(scenario())


def test_a_generation_that_comes_while_a_unit_is_being_told_is_told_next(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            helper.gate.clear()
            for number in (2, 3, 4):
                home.vault.put("prod/bot", {"TOKEN": f"fake-token-{number}"})
                await daemon.refresh()
            helper.gate.set()
            await daemon.loaded(generation=4)
            assert helper.told == [(UNIT, 1), (UNIT, 2), (UNIT, 4)], "one at a time, the newest last"

    live(scenario())


def test_a_unit_that_hangs_holds_up_no_other_unit(home: Home) -> None:
    home.configure(a_bundle(), a_bundle("other", more=TOLD.replace(UNIT, "other.service")))

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            helper.hanging = {UNIT}
            await daemon.until(lambda: daemon.generation("bot") == 1 and daemon.generation("other") == 1)
            daemon.conductor.bundles.be_ready()
            await daemon.until(lambda: daemon.state("other").entry.loaded == {"other.service": 1})
            assert daemon.state("bot").entry.loaded == {}

    live(scenario())


def test_a_unit_must_still_be_up_after_its_confirm_time(home: Home) -> None:
    home.configure(a_bundle(more=CONFIRMED))

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            act, confirm = helper.requests
            assert isinstance(act, ActRequest)
            assert isinstance(confirm, ConfirmRequest)
            assert confirm.invocation == INVOCATION

    live(scenario())


@pytest.mark.usefixtures("impatient")
def test_a_unit_that_dies_within_its_confirm_time_has_not_loaded_and_must_prove_itself(home: Home) -> None:
    home.configure(a_bundle(more=CONFIRMED))

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            # told, died; found down; started anew by systemd, died again; started anew, stayed up
            helper.answers = [ACTED, FAILED, UnitReport("inactive"), CURRENT, FAILED, CURRENT, ACTED]
            await daemon.until(lambda: daemon.generation() == 1)
            daemon.conductor.bundles.be_ready()
            await daemon.loaded()
            kinds = ["act" if isinstance(r, ActRequest) else "confirm" for r in helper.requests]
            assert kinds == ["act", "confirm", "act", "act", "confirm", "act", "confirm"]

    live(scenario())


def test_the_helper_is_told_when_it_was_published_so_that_a_fresh_unit_is_left_alone(home: Home) -> None:
    async def scenario() -> None:
        before = time.monotonic()
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            (act,) = helper.requests
            assert isinstance(act, ActRequest)
            assert before < act.published_monotonic < time.monotonic()

    live(scenario())


def test_after_a_crash_before_the_clock_was_read_a_unit_is_rather_told_twice(home: Home) -> None:
    async def scenario() -> None:
        async with Daemon(home, ready=False) as daemon:
            await daemon.until(lambda: daemon.generation() == 1)
        (home.state_dir / "journal.json").unlink()  # a kill comes before it is written
        restarted = time.monotonic()
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            (act,) = helper.requests
            assert isinstance(act, ActRequest)
            assert act.published_monotonic > restarted

    live(scenario())


@pytest.mark.usefixtures("impatient")
def test_a_bot_that_must_acknowledge_counts_as_loaded_only_then(home: Home) -> None:
    home.configure(a_bundle(more=ACKNOWLEDGED))

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            await daemon.until(lambda: daemon.generation() == 1)
            daemon.conductor.bundles.be_ready()
            await daemon.until(lambda: outcome_of(daemon) == "unacknowledged")
            assert daemon.status()["state"] == "notified"
            assert not await daemon.conductor.bundles.acknowledge("bot", 2), "of what is not published"
            assert await daemon.conductor.bundles.acknowledge("bot", 1)
            await daemon.loaded()
            told = len(helper.told)
            await asyncio.sleep(0.06)
            assert len(helper.told) <= told + 1
        assert journal.read(home.state_dir)["bot"].loaded == {UNIT: 1}

    live(scenario())


def test_an_acknowledgement_that_outruns_the_helpers_answer_counts(home: Home) -> None:
    home.configure(a_bundle(more=ACKNOWLEDGED))

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            helper.gate.clear()
            await daemon.until(lambda: daemon.generation() == 1)
            daemon.conductor.bundles.be_ready()
            await helper.asked.wait()
            assert await daemon.conductor.bundles.acknowledge("bot", 1)
            helper.gate.set()
            await daemon.loaded()
            assert outcome_of(daemon) == "acted"
            assert helper.told == [(UNIT, 1)]

    live(scenario())


def test_a_unit_that_nobody_is_to_tell_is_never_asked_about(home: Home) -> None:
    quiet = f'[[bundles.NAME.on_change]]\nunit = "{UNIT}"\naction = "none"\n'
    home.configure(a_bundle(more=quiet))

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.settled()
            assert helper.requests == []
            assert daemon.status()["units"][0]["state"] == "not told"

    live(scenario())


def test_a_bundle_that_is_dropped_while_its_unit_is_being_told_leaves_no_error(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    home.configure(a_bundle("bot", more=ACKNOWLEDGED), a_bundle("other", more=""))

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            helper.gate.clear()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh("bot", "other")
            home.configure(a_bundle("other", more=""))
            await daemon.conductor.reload_configuration()
            await daemon.refresh("other")
            await daemon.until(lambda: "bot" not in daemon.conductor.states)
            helper.gate.set()
            await daemon.settled()

    live(scenario())
    assert [record.getMessage() for record in caplog.records if "bug" in record.getMessage()] == []


def test_a_journal_that_fails_after_a_unit_was_told_tells_nobody_twice_in_this_run(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            home.state_dir.rename(home.directory / "away")
            home.state_dir.touch()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            await daemon.loaded(generation=2)
            await daemon.refresh()
            await daemon.settled()
            assert helper.told == [(UNIT, 1), (UNIT, 2)]

    live(scenario())


def test_stopping_waits_for_no_helper(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper:
            helper.gate.clear()
            async with Daemon(home) as daemon:
                await helper.asked.wait()
                before = time.monotonic()
            assert time.monotonic() - before < 1
            assert daemon.conductor.bundles.deliveries._tasks == set()

    live(scenario())


def test_the_fake_helper_speaks_the_real_protocol(home: Home) -> None:
    async def scenario() -> None:
        async with FakeHelper(home.socket) as helper:
            report = await client.act(
                home.socket, bundle="bot", unit=UNIT, generation=1, published_monotonic=1.0
            )
            assert report == helper.answers[0]

    live(scenario())
