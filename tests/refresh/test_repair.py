"""Published files that somebody altered while the source is out, and the bundles that wait for them."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secretsd.control.commands import Commands
from secretsd.errors import ExitCode
from secretsd.model import UnitReport
from secretsd.refresh import journal
from secretsd.refresh.files import tree
from tests.refresh.daemon import UNIT, Daemon, Home, a_bundle, live

GOOD = b"TOKEN='fake-token-1'\n"
TICK_S = 0.012  # ctime is as coarse as the kernel's tick


def rewrite(run: Path) -> None:
    (run / "bot" / "env").write_bytes(b"TOKEN='fake-evil-1'\n")


def remove_file(run: Path) -> None:
    (run / "bot" / "env").unlink()


def remove_generation(run: Path) -> None:
    shutil.rmtree(run / (run / "bot").readlink())


def remove_all_generations(run: Path) -> None:
    shutil.rmtree(run / tree.GENERATIONS)


def remove_link(run: Path) -> None:
    (run / "bot").unlink()


def lead_the_link_astray(run: Path) -> None:
    (run / "bot").unlink()
    (run / "bot").symlink_to("/etc")


def change_mode(run: Path) -> None:
    (run / "bot" / "env").chmod(0o600)


DAMAGES = [
    rewrite,
    remove_file,
    remove_generation,
    remove_all_generations,
    remove_link,
    lead_the_link_astray,
    change_mode,
]
Damage = Callable[[Path], None]


async def damaged(home: Home, damage: Damage) -> None:
    await asyncio.sleep(TICK_S)
    damage(home.runtime_dir)


async def ask(daemon: Daemon, command: str = "wait", **request: object) -> Any:
    bundle = None if command == "reload" else "bot"
    return await Commands(daemon.conductor).run(command, bundle, {"timeout": "5s", **request})


def codes(daemon: Daemon) -> list[str]:
    return [failure["code"] for failure in daemon.status()["failures"]]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_was_altered_in_an_outage_is_repaired_from_the_copy_and_nobody_is_told(
    home: Home, damage: Damage
) -> None:
    async def scenario() -> None:
        async with home.helper() as helper:
            async with Daemon(home) as daemon:
                await daemon.loaded()
                home.vault.fail("prod/bot")
                await damaged(home, damage)
                assert daemon.status()["state"] == "altered"
                await daemon.refresh()
                await daemon.until(lambda: daemon.generation() == 2)
                assert home.env() == GOOD
                assert codes(daemon) == ["fake-transient"], "the outage is still shown"
                assert daemon.status()["state"] == "loaded"
                await daemon.settled()
            async with Daemon(home) as daemon:
                await daemon.settled()
                assert daemon.generation() == 2
            assert helper.told == [(UNIT, 1)]

    live(scenario())


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_was_altered_is_published_anew_and_nobody_is_told(home: Home, damage: Damage) -> None:
    async def scenario() -> None:
        async with home.helper() as helper:
            async with Daemon(home) as daemon:
                await daemon.loaded()
                await damaged(home, damage)
                await daemon.refresh()
                assert daemon.generation() == 2
                assert home.env() == GOOD
                await daemon.settled()
                assert daemon.status()["state"] == "loaded"
            async with Daemon(home) as daemon:
                await daemon.settled()
                assert daemon.generation() == 2
            assert helper.told == [(UNIT, 1)]
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            async with Daemon(home) as daemon:
                await daemon.loaded(generation=3)
            assert helper.told == [(UNIT, 1), (UNIT, 3)]

    live(scenario())


@pytest.mark.parametrize("damage", [rewrite, remove_file, remove_generation, change_mode])
def test_what_was_altered_while_the_daemon_was_down_is_repaired_in_an_outage(
    home: Home, damage: Damage
) -> None:
    async def scenario() -> None:
        async with home.helper() as helper:
            async with Daemon(home) as daemon:
                await daemon.loaded()
            home.vault.fail("prod/bot")
            await damaged(home, damage)
            async with Daemon(home) as daemon:
                await daemon.until(lambda: daemon.generation() == 2)
                assert home.env() == GOOD
                await daemon.settled()
            assert helper.told == [(UNIT, 1)]

    live(scenario())


def test_a_unit_that_had_failed_on_the_altered_generation_has_failed_on_the_repaired_one(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            helper.answers = [UnitReport("failed", "the job failed", "see journalctl")]
            await daemon.until(lambda: daemon.generation() == 1)
            daemon.conductor.bundles.be_ready()
            await daemon.until(lambda: daemon.status()["units"][0]["state"] == "failed")
            helper.answers = [UnitReport("inactive", "bot.service is not running")]
            home.vault.fail("prod/bot")
            await damaged(home, rewrite)
            await daemon.refresh()
            await daemon.until(lambda: daemon.generation() == 2)
            daemon.conductor.hurry_deliveries(["bot"])
            await daemon.until(lambda: (UNIT, 2) in helper.told)
            await daemon.settled()
            assert daemon.status()["units"][0]["state"] == "failed"
        assert journal.read(home.state_dir)["bot"].failed == {UNIT: 2}

    live(scenario())


def test_a_repaired_generation_stays_and_is_not_repaired_again(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            home.vault.fail("prod/bot")
            await damaged(home, rewrite)
            await daemon.refresh()
            await daemon.until(lambda: daemon.generation() == 2)
            before = home.identity_of_file()
            for _ in range(3):
                await daemon.refresh()
            assert home.identity_of_file() == before
            assert sorted(os.listdir(home.runtime_dir / tree.COPIES / "bot")) == ["1", "2"]

    live(scenario())


def test_many_bundles_that_were_altered_in_an_outage_are_all_repaired(home: Home) -> None:
    names = [f"bot-{number}" for number in range(5)]
    home.configure(*map(a_bundle, names))

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            for name in names:
                await daemon.loaded(name)
            home.vault.fail("prod/bot")
            await asyncio.sleep(TICK_S)
            for name in names[1:]:
                (home.runtime_dir / name / "env").unlink()
            started = daemon.workers.started
            await daemon.refresh(*names)
            for name in names[1:]:
                await daemon.until(lambda name=name: daemon.generation(name) == 2)  # type: ignore[misc]
                assert home.env(name) == GOOD
            assert daemon.generation(names[0]) == 1
            assert daemon.workers.started == started + 2, "one that fetches, and one that repairs all"
            assert len(helper.told) == len(names)

    live(scenario())


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("out", [True, False])
def test_wait_does_not_open_on_altered_files_and_opens_when_they_are_mended(
    home: Home, damage: Damage, out: bool
) -> None:
    """While the source hangs, too: they are mended from the copy."""

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            if out:
                home.vault.hang("prod/bot")
                daemon.conductor.request_refresh(["bot"])
                assert await asyncio.to_thread(home.vault.fetching.wait, 5)
            await damaged(home, damage)
            reply = await ask(daemon)
            assert (reply.code, reply.body) == (ExitCode.OK, {"generation": 2})
            assert home.env() == GOOD
            home.vault.open_gate.set()

    live(scenario())


def test_wait_does_not_open_on_what_is_not_there(home: Home) -> None:
    home.vault.fail("prod/bot")

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            reply = await ask(daemon, timeout="20ms")
            assert reply.code is ExitCode.TRY_AGAIN
            assert reply.message == "bot is not published: a fake failure; wait"
            waiting = asyncio.create_task(ask(daemon))
            home.vault.put("prod/bot", {"TOKEN": "fake-token-1"})
            await daemon.refresh()
            assert (await waiting).code is ExitCode.OK

    live(scenario())


def test_with_the_copies_gone_too_the_failure_is_named_and_the_daemon_lives(home: Home) -> None:
    home.vault.put("other", {"TOKEN": "fake-token-0"})
    home.configure(a_bundle(), a_bundle("other", secret="other"))

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded("bot")
            await daemon.loaded("other")
            home.vault.fail("prod/bot")
            await damaged(home, remove_file)
            shutil.rmtree(home.runtime_dir / tree.COPIES / "bot")
            await daemon.refresh("bot", "other")
            await daemon.until(lambda: codes(daemon) == ["fake-transient", "no-copy"])
            assert "copy of bot" in daemon.status()["failures"][1]["message"]
            assert daemon.status()["state"] == "altered"
            assert daemon.status("other")["state"] == "loaded"
            reply = await ask(daemon, timeout="20ms")
            assert (reply.code, reply.message.split(":")[0]) == (
                ExitCode.TRY_AGAIN,
                "bot was altered on this host",
            )
            assert (await ask(daemon, "reload")).code is ExitCode.UNAVAILABLE
            home.vault.put("prod/bot", {"TOKEN": "fake-token-1"})
            await daemon.refresh()
            await daemon.settled()
            assert home.env() == GOOD
            assert (codes(daemon), daemon.status()["state"]) == ([], "loaded")
            assert len(helper.told) == 2, "each of its first generation"

    live(scenario())


def test_a_repair_whose_worker_is_lost_is_named_and_tried_again(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            home.vault.fail("prod/bot")
            await damaged(home, remove_file)
            (home.runtime_dir / "bot").unlink()
            (home.runtime_dir / "bot").mkdir()  # no rename replaces a directory
            await daemon.refresh()
            await daemon.until(lambda: len(codes(daemon)) == 2)
            (home.runtime_dir / "bot").rmdir()
            daemon.workers.lost_before = "published"
            await daemon.refresh()
            await daemon.until(lambda: daemon.generation() == 3)
            assert home.env() == GOOD, "the worker had shown it before it was lost"
            assert codes(daemon) == ["fake-transient"]
            assert helper.told == [(UNIT, 1)]

    live(scenario())
