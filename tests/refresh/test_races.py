"""What happens between a decision and its deed, while the disk is slow."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from secretsd.errors import FailureClass
from secretsd.refresh import journal
from tests.refresh.daemon import TOLD, UNIT, Daemon, Home, a_bundle, live
from tests.refresh.test_overrule import ask, rotate, token
from tests.refresh.test_repair import damaged, remove_link, rewrite


async def quiet() -> None:
    """Returns when the journal has written what it writes a moment later."""
    await asyncio.sleep(0.5)


class SlowDisk:
    """A journal whose next write waits for `goes_on`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_slow = False
        self.met = threading.Event()
        self.goes_on = threading.Event()
        write: Callable[..., None] = journal.write

        def slowly(*args: object) -> None:
            if self.is_slow:
                self.is_slow = False
                self.met.set()
                self.goes_on.wait(5)
            write(*args)

        monkeypatch.setattr(journal, "write", slowly)


def test_a_bundle_that_the_configuration_drops_while_it_is_restored_is_no_bug(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.configure(a_bundle("bot"), a_bundle("other"))

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            await daemon.loaded("other")
            await quiet()
            disk = SlowDisk(monkeypatch)
            disk.is_slow = True
            await damaged(home, rewrite)
            await asyncio.to_thread(disk.met.wait, 5)
            home.configure(a_bundle("other"))
            await daemon.conductor.reload_configuration()
            disk.goes_on.set()
            await daemon.until(lambda: "bot" not in daemon.conductor.states)
            await daemon.refresh("other")

    live(scenario())


def test_what_is_withdrawn_is_not_restored_meanwhile(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.configure(a_bundle(keys='on_refusal = "withdraw"'))

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            await quiet()
            disk = SlowDisk(monkeypatch)
            home.vault.fail("prod/bot", FailureClass.REFUSAL)
            disk.is_slow = True
            daemon.conductor.request_refresh(["bot"])
            await asyncio.to_thread(disk.met.wait, 5)
            await damaged(home, rewrite)
            await asyncio.sleep(0.3)
            assert not daemon.conductor.bundles.restores.is_under_way("bot")
            disk.goes_on.set()
            await daemon.until(lambda: daemon.state().record is None)
            await asyncio.sleep(0.3)
            assert daemon.generation() is None

    live(scenario())


def test_who_removes_the_link_does_not_take_away_what_can_be_gone_back_to(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            await rotate(home, daemon, 2)
            await damaged(home, remove_link)
            await daemon.until(lambda: daemon.generation() == 3)
            reply = await ask(daemon, "rollback")
            assert reply.message.startswith("bot shows generation 1 again"), reply.message
            assert home.env() == token(1)

    live(scenario())


def test_a_hold_in_the_middle_of_a_publish_holds_what_comes_of_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            await quiet()
            disk = SlowDisk(monkeypatch)
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            disk.is_slow = True
            daemon.conductor.request_refresh(["bot"])
            await asyncio.to_thread(disk.met.wait, 5)
            asked = asyncio.create_task(ask(daemon, "hold"))
            await asyncio.sleep(0.05)
            disk.goes_on.set()
            reply = await asked
            generation = daemon.generation()
            assert reply.message == f"bot stays on generation {generation} until secretsctl resume bot"
            await daemon.loaded()
            await asyncio.sleep(2.0)  # longer than until the next look
            assert (daemon.generation(), home.env()) == (2, token(2))
            assert helper.told == [(UNIT, 1), (UNIT, 2)]

    live(scenario())


def test_a_unit_that_is_restarted_while_its_bundle_is_let_go_of_is_no_bug(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    limited = TOLD.replace("reload", "restart") + "max_restarts_per_hour = 4\n"
    home.configure(a_bundle("bot", more=limited), a_bundle("other", more=""))

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            helper.gate.clear()
            helper.asked.clear()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh("bot")
            await helper.asked.wait()
            await asyncio.sleep(0.05)
            home.configure(a_bundle("other", more=""))
            await daemon.conductor.reload_configuration()
            await daemon.until(lambda: "bot" not in daemon.conductor.states)
            helper.gate.set()
            await daemon.settled()
            assert not [record for record in caplog.records if "bug" in record.msg]

    live(scenario())


def test_a_unit_that_is_being_told_while_its_files_are_repaired_is_not_told_again(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper:
            helper.gate.clear()
            async with Daemon(home) as daemon:
                await helper.asked.wait()
                await damaged(home, rewrite)
                await daemon.until(lambda: daemon.generation() == 2)
                helper.gate.set()
                await daemon.loaded(generation=2)
                assert helper.told == [(UNIT, 1)]
                home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
                await daemon.refresh()
                await daemon.loaded(generation=3)
            assert helper.told == [(UNIT, 1), (UNIT, 3)]

    live(scenario())
