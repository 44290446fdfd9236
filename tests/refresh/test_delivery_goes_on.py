"""A unit that failed on a generation, over restarts of the daemon, and how often the helper is asked."""

from __future__ import annotations

import pytest

from secretsd.control.commands import Commands
from secretsd.errors import ExitCode
from secretsd.model import UnitReport
from secretsd.refresh import journal
from secretsd.refresh.units import delivery
from secretsd.refresh.units.delivery import Deliveries
from tests.refresh.daemon import TOLD, UNIT, Daemon, Home, a_bundle, live
from tests.refresh.fakes import INVOCATION

ACTED = UnitReport("acted", invocation=INVOCATION, main_pid=1)
CURRENT = UnitReport("current", invocation=INVOCATION, main_pid=1)
FAILED = UnitReport("failed", "bot.service ended 0.3 s after its restart", "see journalctl")
DOWN = UnitReport("inactive", "bot.service is not running (failed: exit-code): left alone")
STARTING = UnitReport("starting", "bot.service is about to start: it will read the new files")
CONFIRMED = TOLD.replace('confirm = "0"', 'confirm = "20ms"')
ACKNOWLEDGED = TOLD + "require_ack = true\n"
FAILED_ON_2 = journal.Entry(2, {UNIT: 1}, {UNIT: 2})


class Delays:
    """The waiting times that deliveries set, in seconds; each is over at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.found: list[float] = []
        retry = Deliveries._retry

        def noted(deliveries: Deliveries, step: object, told: object, report: object, delay_s: float) -> None:
            self.found.append(delay_s)
            retry(deliveries, step, told, report, 0.001)  # type: ignore[arg-type]

        monkeypatch.setattr(Deliveries, "_retry", noted)


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> Delays:
    return Delays(monkeypatch)


def unit(daemon: Daemon) -> tuple[str, str]:
    (found,) = daemon.status()["units"]
    return found["state"], found["message"]


async def failed_on_the_second(home: Home) -> None:
    """A daemon whose unit has loaded generation 1, failed on generation 2, and went down."""
    async with home.helper() as helper, Daemon(home) as daemon:
        await daemon.loaded()
        helper.answers = [FAILED]
        home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
        await daemon.refresh()
        await daemon.until(lambda: unit(daemon) == ("failed", FAILED.message))
        await daemon.settled()
    assert home.units() == FAILED_ON_2


def test_a_unit_that_went_down_because_it_was_told_has_failed_after_a_restart_too(home: Home) -> None:
    async def scenario() -> None:
        await failed_on_the_second(home)
        async with home.helper() as helper:
            helper.answers = [DOWN]
            for _ in range(2):
                async with Daemon(home) as daemon:
                    await daemon.until(lambda: unit(daemon)[0] == "failed")
                    await daemon.settled()
                    assert daemon.status()["state"] == "published"
                    assert "systemctl start" in daemon.status()["units"][0]["advice"]
                    reply = await Commands(daemon.conductor).run("reload", None, {"timeout": "5s"})
                    assert reply.code is ExitCode.TRY_AGAIN
                assert home.units() == FAILED_ON_2

    live(scenario())


def test_a_unit_that_was_started_again_has_loaded_what_it_failed_on(home: Home) -> None:
    async def scenario() -> None:
        await failed_on_the_second(home)
        async with home.helper() as helper:
            helper.answers = [CURRENT]
            async with Daemon(home) as daemon:
                await daemon.loaded(generation=2)
                assert unit(daemon)[0] == "loaded"
        assert home.units() == journal.Entry(2, {UNIT: 2}, {})

    live(scenario())


def test_after_a_restart_a_unit_that_had_failed_must_prove_itself(home: Home) -> None:
    home.configure(a_bundle(more=CONFIRMED))

    async def scenario() -> None:
        await failed_on_the_second(home)
        async with home.helper() as helper:
            helper.answers = [CURRENT, FAILED]
            async with Daemon(home) as daemon:
                await daemon.until(lambda: len(helper.requests) == 2 and unit(daemon)[0] == "failed")

    live(scenario())


def test_a_new_generation_forgets_what_a_unit_failed_on(home: Home) -> None:
    async def scenario() -> None:
        await failed_on_the_second(home)
        home.vault.put("prod/bot", {"TOKEN": "fake-token-3"})
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded(generation=3)
            assert helper.told == [(UNIT, 3)]
        assert home.units() == journal.Entry(3, {UNIT: 3}, {})

    live(scenario())


def test_a_unit_that_starts_over_and_over_keeps_showing_what_it_fails_of(home: Home, delays: Delays) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            helper.answers = [FAILED, STARTING, STARTING, STARTING]
            await daemon.until(lambda: daemon.generation() == 1)
            daemon.conductor.bundles.be_ready()
            await daemon.until(lambda: len(helper.requests) > 5)
            assert unit(daemon) == ("failed", FAILED.message)
            assert daemon.status()["units"][0]["advice"] == FAILED.advice
            assert daemon.status()["state"] == "published"
            helper.answers = [CURRENT]
            await daemon.loaded()
            assert unit(daemon) == ("loaded", "")

    live(scenario())


def test_a_unit_that_takes_long_to_start_is_asked_for_less_and_less(home: Home, delays: Delays) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            helper.answers = [STARTING]
            await daemon.until(lambda: daemon.generation() == 1)
            daemon.conductor.bundles.be_ready()
            await daemon.until(lambda: len(delays.found) > 7)
            assert unit(daemon) == ("starting", STARTING.message)
        assert delays.found[:7] == [1, 2, 4, 8, 10, 10, 10]

    live(scenario())


def test_a_bot_that_does_not_acknowledge_is_told_less_and_less(home: Home, delays: Delays) -> None:
    home.configure(a_bundle(more=ACKNOWLEDGED))

    async def scenario() -> None:
        async with home.helper(), Daemon(home, ready=False) as daemon:
            await daemon.until(lambda: daemon.generation() == 1)
            daemon.conductor.bundles.be_ready()
            await daemon.until(lambda: len(delays.found) > 7)
            assert daemon.status()["state"] == "notified"
        assert delays.found[:7] == [30, 60, 120, 240, 300, 300, 300]

    live(scenario())


def test_a_unit_that_keeps_failing_is_told_less_and_less(
    home: Home, delays: Delays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery.random, "random", lambda: 0.999999)

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            helper.answers = [FAILED]
            await daemon.until(lambda: daemon.generation() == 1)
            daemon.conductor.bundles.be_ready()
            await daemon.until(lambda: len(delays.found) > 10)
        assert [round(delay_s) for delay_s in delays.found[:10]] == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]

    live(scenario())


def test_the_waiting_of_one_generation_does_not_slow_the_next(home: Home, delays: Delays) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            helper.answers = [STARTING]
            await daemon.until(lambda: daemon.generation() == 1)
            daemon.conductor.bundles.be_ready()
            await daemon.until(lambda: len(delays.found) > 5)
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            slowest = len(delays.found)
            await daemon.until(lambda: (UNIT, 2) in helper.told)
            await daemon.until(lambda: 1 in delays.found[slowest - 1 :])

    live(scenario())
