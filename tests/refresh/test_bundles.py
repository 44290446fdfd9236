"""A bundle that goes and comes back, and what late answers may not do to it."""

from __future__ import annotations

import asyncio

import pytest

from secretsd.refresh import journal
from tests.refresh.daemon import TOLD, UNIT, Daemon, Home, a_bundle, live
from tests.refresh.fakes import FakeHelper

CONFIRMED = TOLD.replace('confirm = "0"', 'confirm = "20ms"')
OTHER = a_bundle("other", secret="other", more="")


@pytest.fixture(autouse=True)
def other_secret(home: Home) -> None:
    home.vault.put("other", {"TOKEN": "fake-token-0"})


async def reconfigured(daemon: Daemon, *bundles: str) -> None:
    daemon.home.configure(*bundles)
    await daemon.conductor.reload_configuration()
    await daemon.refresh(*daemon.conductor.config.bundles)


async def gone(daemon: Daemon) -> None:
    await reconfigured(daemon, OTHER)
    await daemon.until(lambda: "bot" not in daemon.conductor.states)


async def rotate(daemon: Daemon, number: int) -> None:
    daemon.home.vault.put("prod/bot", {"TOKEN": f"fake-token-{number}"})
    await daemon.refresh()


async def held_at_confirm(daemon: Daemon, helper: FakeHelper) -> None:
    """The last rotation's unit has acted, and the question whether it is still up has no answer yet."""
    await daemon.until(lambda: daemon.status()["units"][0]["state"] == "confirming")
    helper.gate.clear()
    asked = len(helper.requests)
    while len(helper.requests) == asked:
        helper.asked.clear()
        await helper.asked.wait()


def test_a_late_delivery_of_a_bundle_that_went_and_came_back_writes_nothing(home: Home) -> None:
    home.configure(a_bundle(more=CONFIRMED), OTHER)

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            await rotate(daemon, 2)
            await held_at_confirm(daemon, helper)
            (late,) = daemon.conductor.bundles.deliveries._tasks
            await gone(daemon)
            helper.hanging = {UNIT}  # of the new bundle nothing is known for the whole test
            await reconfigured(daemon, a_bundle(more=CONFIRMED), OTHER)
            assert daemon.generation() == 3, "numbers go on where they were"
            helper.gate.set()
            await late
            assert daemon.state().entry.loaded == {UNIT: 1}
            assert daemon.status()["state"] == "published"
        assert journal.read(home.state_dir)["bot"].loaded == {UNIT: 1}

    live(scenario())


def test_every_generation_is_told_after_a_bundle_went_and_came_back_under_a_delivery(home: Home) -> None:
    home.configure(a_bundle(more=CONFIRMED), OTHER)

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            for number in (2, 3, 4):
                await daemon.loaded()
                await rotate(daemon, number)
            await held_at_confirm(daemon, helper)
            await gone(daemon)
            await reconfigured(daemon, a_bundle(more=CONFIRMED), OTHER)
            helper.gate.set()
            for number in (5, 6, 7):
                await daemon.loaded(generation=number)
                assert helper.told[-1] == (UNIT, number)
                await rotate(daemon, number)
            await daemon.loaded(generation=8)
            assert [generation for _, generation in helper.told] == [1, 2, 3, 4, 5, 6, 7, 8]

    live(scenario())


def test_the_numbers_of_a_removed_bundle_are_known_after_a_restart_too(home: Home) -> None:
    home.configure(a_bundle(), OTHER)

    async def scenario() -> None:
        async with home.helper() as helper:
            async with Daemon(home) as daemon:
                await daemon.loaded()
                await rotate(daemon, 2)
                await daemon.loaded(generation=2)
                await gone(daemon)
            for bundles in ([OTHER], [a_bundle(), OTHER]):
                home.configure(*bundles)
                async with Daemon(home) as daemon:
                    await daemon.settled()
            assert helper.told == [(UNIT, 1), (UNIT, 2), (UNIT, 3)]

    live(scenario())


def test_a_bundle_that_comes_back_before_its_removal_could_succeed_keeps_its_generation(home: Home) -> None:
    home.configure(a_bundle(), OTHER)

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            home.vault.hang("prod/bot")
            targets = daemon.conductor.request_refresh(["bot"])
            assert await asyncio.to_thread(home.vault.fetching.wait, 5)
            for bundles in ([OTHER], [a_bundle(), OTHER]):
                home.configure(*bundles)
                await daemon.conductor.reload_configuration()
            home.vault.open_gate.set()
            await daemon.until(lambda: daemon.state().ended >= targets["bot"])
            await daemon.settled()
            assert daemon.generation() == 1
            assert helper.told == [(UNIT, 1)]

    live(scenario())


@pytest.mark.parametrize("confirmed", ["20ms", "0"])
def test_what_a_unit_has_loaded_never_goes_back(home: Home, confirmed: str) -> None:
    more = TOLD.replace('confirm = "0"', f'confirm = "{confirmed}"\nrequire_ack = true')
    home.configure(a_bundle(more=more))

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            helper.gate.clear()
            await daemon.until(lambda: daemon.generation() == 1)
            daemon.conductor.bundles.be_ready()
            await helper.asked.wait()  # about generation 1
            await rotate(daemon, 2)
            assert await daemon.conductor.bundles.acknowledge("bot", 2)
            helper.gate.set()
            await daemon.settled()
            assert daemon.state().entry.loaded == {UNIT: 2}
            assert daemon.status()["state"] == "loaded"
            assert helper.told == [(UNIT, 1)], "who has said that it runs on it need not be told"
        assert journal.read(home.state_dir)["bot"].loaded == {UNIT: 2}

    live(scenario())


def test_what_a_reload_lets_go_of_in_the_middle_of_its_round_is_removed_when_the_round_ends(
    home: Home,
) -> None:
    home.configure(a_bundle(), OTHER)

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            home.vault.hang("prod/bot")
            daemon.conductor.request_refresh(["bot"])
            assert await asyncio.to_thread(home.vault.fetching.wait, 5)
            home.configure(OTHER)
            await daemon.conductor.reload_configuration()
            assert home.env(), "its worker may be about to publish it"
            home.vault.open_gate.set()
            await daemon.until(lambda: "bot" not in daemon.conductor.states)
            assert not list(home.runtime_dir.glob("**/bot"))

    live(scenario())
