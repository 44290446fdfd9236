"""What happens between a decision and its deed, while the disk is slow."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from secretsd.errors import FailureClass
from secretsd.refresh import journal
from tests.refresh.daemon import Daemon, Home, a_bundle, live
from tests.refresh.test_overrule import ask, rotate, token
from tests.refresh.test_repair import damaged, remove_link, rewrite


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
            await asyncio.sleep(0.5)
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
            await asyncio.sleep(0.5)
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
