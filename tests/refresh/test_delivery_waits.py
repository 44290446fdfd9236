"""A unit that is due and may not be touched yet: it waits for what it must, and for nothing more."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from secretsd.control import report
from secretsd.control.commands import Commands
from secretsd.errors import ExitCode
from secretsd.model import UnitReport
from secretsd.refresh import journal
from secretsd.refresh.journal import Entry
from secretsd.refresh.state import Delivery
from secretsd.refresh.units import delivery, gates
from secretsd.refresh.units.gates import stagger_delay_s
from tests.refresh.daemon import TOLD, UNIT, Daemon, Home, a_bundle, live
from tests.refresh.fakes import INVOCATION

ACTED = UnitReport("acted", invocation=INVOCATION, main_pid=1)
NO = UnitReport("unwilling", "/bin/is-flat says no: it exited with 1", "see what it wrote: journalctl")
YES = UnitReport("willing")
RESTART = TOLD.replace("reload", "restart")
BEFORE = TOLD + 'before = ["/bin/true"]\n'


def window(begins_in: timedelta, *, length: timedelta = timedelta(hours=1)) -> str:
    start = datetime.now(UTC) + begins_in
    return f'windows = ["{start:%H:%M}-{start + length:%H:%M}"]\n'


CLOSED, OPEN = timedelta(hours=2), timedelta(minutes=-30)


def configure(home: Home, more: str) -> None:
    home.configure(a_bundle(more=more))


@pytest.fixture
def home(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """In which `before` may stand though no owner does: nobody runs it."""
    monkeypatch.setattr("secretsd.config.relations._askers", lambda *_: iter(()))
    return home


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is looked at and asked again after 20 ms."""
    monkeypatch.setattr(gates, "_LOOK_AGAIN_S", 0.02)
    monkeypatch.setattr(gates, "_ASK_AGAIN_S", 0.02)
    monkeypatch.setattr(gates, "_ASK_AGAIN_LONGEST_S", 0.02)


def told(daemon: Daemon) -> Delivery:
    return daemon.state().delivery(UNIT)


def word(daemon: Daemon) -> str:
    return str(daemon.status()["units"][0]["state"])


async def waiting(daemon: Daemon, what: str) -> None:
    await daemon.until(lambda: word(daemon) == f"waiting for {what}" and not told(daemon).in_progress)


# Windows


def test_a_closed_window_delays_telling_and_not_publishing(home: Home) -> None:
    configure(home, TOLD + window(CLOSED))

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await waiting(daemon, "window")
            assert home.env()
            status = daemon.status()
            (unit,) = status["units"]
            assert status["state"] == "published"
            until = datetime.fromisoformat(unit["until"])
            assert timedelta(hours=1.9) < until - datetime.now(UTC) < timedelta(hours=2)
            assert f"{until:%Y-%m-%d %H:%M}" in unit["message"]
            assert f"systemctl restart {UNIT}" in unit["advice"]
            assert not unit["overdue"]
            assert helper.kinds == ["Look"]
            assert told(daemon).retry_at <= time.monotonic() + gates._LOOK_AGAIN_S
        assert journal.read(home.state_dir)["bot"].loaded == {}

    live(scenario())


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("outcome", ["current", "inactive"])
def test_a_unit_that_needs_not_be_touched_waits_for_no_window(home: Home, outcome: str) -> None:
    configure(home, BEFORE + window(CLOSED))

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            helper.looks = [
                UnitReport("due"),
                UnitReport("starting"),
                UnitReport(outcome, invocation=INVOCATION),
            ]
            await daemon.until(lambda: daemon.generation() == 1)
            daemon.conductor.bundles.be_ready()
            await waiting(daemon, "window")
            daemon.conductor.hurry_deliveries(["bot"])
            await daemon.until(lambda: word(daemon) == "starting")
            daemon.conductor.hurry_deliveries(["bot"])
            await daemon.loaded()
            assert helper.kinds == ["Look"] * 3
            assert word(daemon) == ("inactive" if outcome == "inactive" else "loaded")

    live(scenario())


def test_a_window_that_a_reload_has_opened_is_open_at_once_and_only_the_newest_is_told(home: Home) -> None:
    configure(home, TOLD + window(CLOSED))

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await waiting(daemon, "window")
            for number in (2, 3):
                home.vault.put("prod/bot", {"TOKEN": f"fake-token-{number}"})
                await daemon.refresh()
                await waiting(daemon, "window")
            assert helper.told == []
            configure(home, TOLD + window(OPEN))
            await daemon.conductor.reload_configuration()
            daemon.conductor.hurry_deliveries(["bot"])
            await daemon.loaded(generation=3)
            assert helper.told == [(UNIT, 3)]

    live(scenario())


@pytest.mark.usefixtures("impatient")
def test_a_window_that_opens_is_seen_without_anybody_asking(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(home, TOLD + window(CLOSED))
    clock = time.time

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await waiting(daemon, "window")
            monkeypatch.setattr(time, "time", lambda: clock() + 2.5 * 3600)
            await daemon.loaded()
            assert helper.told == [(UNIT, 1)]

    live(scenario())


# Stagger


def test_a_stagger_is_this_hosts_own_and_ends(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(home, TOLD + 'stagger = "500ms"\n')

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            host = next(
                f"trader-{number}"
                for number in range(1000)
                if stagger_delay_s(0.5, host=f"trader-{number}", bundle="bot", unit=UNIT) > 0.4
            )
            daemon.conductor.bundles.deliveries._host = host
            await daemon.until(lambda: daemon.generation() == 1)
            published_at = daemon.state().record
            assert published_at is not None
            daemon.conductor.bundles.be_ready()
            await waiting(daemon, "stagger")
            await daemon.loaded()
            assert time.time() - published_at.published_at >= 0.4
            assert helper.told == [(UNIT, 1)]

    live(scenario())


# The limit on restarts


def test_restarts_are_counted_over_runs_of_the_daemon(home: Home) -> None:
    configure(home, RESTART + "max_restarts_per_hour = 2\n")

    async def scenario() -> None:
        async with home.helper() as helper:
            async with Daemon(home) as daemon:
                await daemon.loaded()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            async with Daemon(home) as daemon:
                await daemon.loaded(generation=2)
                assert len(journal.read(home.state_dir)["bot"].restarts[UNIT]) == 2
            home.vault.put("prod/bot", {"TOKEN": "fake-token-3"})
            async with Daemon(home) as daemon:
                await waiting(daemon, "restart limit")
                (unit,) = daemon.status()["units"]
                until = datetime.fromisoformat(unit["until"])
                assert timedelta(minutes=59) < until - datetime.now(UTC) <= timedelta(hours=1)
                assert "max_restarts_per_hour = 2" in unit["message"]
            assert helper.told == [(UNIT, 1), (UNIT, 2)]

    live(scenario())


def test_what_did_not_restart_the_unit_does_not_count(home: Home) -> None:
    configure(home, RESTART + "max_restarts_per_hour = 1\n")

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            helper.answers = [UnitReport("failed", "no helper"), UnitReport("current"), ACTED]
            await daemon.until(lambda: daemon.generation() == 1)
            daemon.conductor.bundles.be_ready()
            await daemon.until(lambda: told(daemon).failed_attempts == 1 and not told(daemon).in_progress)
            daemon.conductor.hurry_deliveries(["bot"])
            await daemon.loaded()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            await daemon.loaded(generation=2)
            assert len(helper.told) == 3

    live(scenario())


def test_a_journal_of_an_earlier_version_and_a_clock_that_was_set_back_block_nothing(home: Home) -> None:
    configure(home, RESTART + "max_restarts_per_hour = 1\n")
    journal.write(home.state_dir, {"bot": Entry(restarts={UNIT: (time.time() + 86400.0,)})})

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()

    live(scenario())


# Before


@pytest.mark.usefixtures("impatient")
def test_before_is_asked_until_it_agrees_and_then_the_unit_is_told(home: Home) -> None:
    configure(home, BEFORE)

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            helper.befores = [NO, NO, YES]
            await daemon.loaded()
            assert helper.kinds == ["Look", "Before"] * 3 + ["Act"]
            assert word(daemon) == "loaded"
            assert (told(daemon).refusals, told(daemon).unwilling_since) == (0, None)

    live(scenario())


def test_before_that_says_no_is_visible_with_its_reason_and_not_hammered(home: Home) -> None:
    configure(home, BEFORE)

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            helper.befores = [NO]
            await daemon.until(lambda: daemon.generation() == 1)
            daemon.conductor.bundles.be_ready()
            await waiting(daemon, "before")
            (unit,) = daemon.status()["units"]
            assert (unit["message"], unit["advice"], unit["until"]) == (NO.message, NO.advice, None)
            await daemon.refresh()
            await daemon.settled()
            assert helper.kinds == ["Look", "Before"]
            first = told(daemon).retry_at - time.monotonic()
            for _ in range(6):
                daemon.conductor.hurry_deliveries(["bot"])
                await daemon.settled()
            assert 0 < first <= gates._ASK_AGAIN_S
            assert first < told(daemon).retry_at - time.monotonic() <= gates._ASK_AGAIN_LONGEST_S

    live(scenario())


@pytest.mark.usefixtures("impatient")
def test_before_that_says_no_for_too_long_is_an_alarm_once(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    configure(home, BEFORE + 'before_alarm = "100ms"\n')

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            helper.befores = [NO]
            await daemon.until(lambda: daemon.generation() == 1)
            daemon.conductor.bundles.be_ready()
            await waiting(daemon, "before")
            assert not daemon.status()["units"][0]["overdue"]
            await daemon.until(lambda: told(daemon).is_overdue)
            # A newer generation does not start the clock anew.
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            await daemon.until(lambda: told(daemon).generation == 2 and told(daemon).refusals > 8)
            (unit,) = daemon.status()["units"]
            assert unit["overdue"]
            assert "before_alarm" in unit["message"]
            assert NO.advice in unit["advice"]
            assert "before says no to telling bot.service" in report.status_line(daemon.conductor)
            helper.befores = [YES]
            await daemon.loaded()
            assert not daemon.status()["units"][0]["overdue"]
        errors = [record for record in caplog.records if record.levelname == "ERROR"]
        assert [record.getMessage() for record in errors] == ["unit is kept from loading the bundle"]

    live(scenario())


def test_a_window_that_closes_while_before_is_asked_keeps_the_unit_from_being_told(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(home, BEFORE + window(OPEN))
    clock = time.time

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            await daemon.until(lambda: daemon.generation() == 1)
            helper.gates["Before"] = asyncio.Event()
            daemon.conductor.bundles.be_ready()
            await daemon.until(lambda: "is being asked" in daemon.status()["units"][0]["message"])
            monkeypatch.setattr(time, "time", lambda: clock() + 3600)
            helper.gates["Before"].set()
            await waiting(daemon, "window")
            assert helper.kinds == ["Look", "Before"]

    live(scenario())


def test_a_generation_that_comes_while_before_is_asked_is_the_one_that_is_told(home: Home) -> None:
    configure(home, BEFORE)

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            await daemon.until(lambda: daemon.generation() == 1)
            helper.gates["Before"] = asyncio.Event()
            daemon.conductor.bundles.be_ready()
            await daemon.until(lambda: word(daemon) == "waiting for before")
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            helper.gates["Before"].set()
            await daemon.loaded(generation=2)
            assert helper.told == [(UNIT, 2)]

    live(scenario())


def test_a_helper_that_cannot_ask_is_a_failure_and_no_no(home: Home) -> None:
    configure(home, BEFORE)

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            helper.befores = [UnitReport("failed", "not configured", "configure it")]
            await daemon.until(lambda: daemon.generation() == 1)
            daemon.conductor.bundles.be_ready()
            await daemon.until(lambda: word(daemon) == "failed")
            assert told(daemon).unwilling_since is None
            assert "Act" not in helper.kinds

    live(scenario())


def test_many_befores_that_hang_leave_the_helper_room_for_others(home: Home) -> None:
    names = [f"b{number}" for number in range(12)]
    home.configure(
        *(a_bundle(name, more=BEFORE.replace(UNIT, f"{name}.service")) for name in names), a_bundle()
    )

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            await daemon.until(lambda: all(daemon.generation(name) == 1 for name in (*names, "bot")))
            helper.gates["Before"] = asyncio.Event()
            daemon.conductor.bundles.be_ready()
            await daemon.until(lambda: daemon.state().entry.loaded == {UNIT: 1})
            await daemon.until(lambda: helper.kinds.count("Look") == 12)
            assert helper.kinds.count("Before") <= delivery._ASK_AT_ONCE
            helper.gates["Before"].set()
            await daemon.until(lambda: len(helper.told) == 13)

    live(scenario())


def test_somebody_who_waits_for_the_bundle_has_its_unit_looked_at_soon(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_SOONEST_S", 0.1)
    configure(home, TOLD + window(CLOSED))

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await waiting(daemon, "window")
            helper.looks = [UnitReport("current", invocation=INVOCATION)]
            began = time.monotonic()
            for _ in range(50):  # a bot's user may ask as often as it likes
                assert (await Commands(daemon.conductor).run("wait", "bot", {})).code == 0
            await daemon.loaded()
            assert time.monotonic() - began < 2
            assert helper.kinds == ["Look"] * 2

    live(scenario())


def test_a_reload_does_not_wait_for_a_window_that_opens_tomorrow(home: Home) -> None:
    configure(home, TOLD + window(CLOSED))

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await waiting(daemon, "window")
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            began = time.monotonic()
            reply = await Commands(daemon.conductor).run("reload", None, {"timeout": "10s"})
            assert time.monotonic() - began < 2
            assert reply.code == ExitCode.TRY_AGAIN
            lines: Any = reply.body["lines"]
            assert lines[0] == "bot: published, not loaded"
            assert "waits for its window, which opens" in lines[1]
            assert daemon.generation() == 2
            helper.looks = [UnitReport("inactive")]
            reply = await Commands(daemon.conductor).run("reload", "bot", {"timeout": "10s"})
            assert reply.code == ExitCode.OK

    live(scenario())


def test_a_rollback_whose_unit_waits_says_what_it_runs_on_until_then(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            await daemon.loaded(generation=2)
            configure(home, TOLD + window(CLOSED))
            await daemon.conductor.reload_configuration()
            reply = await Commands(daemon.conductor).run("rollback", "bot", {"timeout": "5s"})
            assert reply.code is ExitCode.TRY_AGAIN
            assert home.env() == b"TOKEN='fake-token-1'\n"
            lines: Any = reply.body["lines"]
            assert lines[-1].endswith(f"by hand: systemctl restart {UNIT}")

    live(scenario())
