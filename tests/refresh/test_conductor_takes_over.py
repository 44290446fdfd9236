"""After a crash, a reboot or a hand in the directories a second conductor takes over what it finds."""

from __future__ import annotations

import asyncio
import os

import pytest

from secretsd.errors import FailureClass
from secretsd.refresh import journal
from secretsd.refresh.files import published
from secretsd.refresh.journal import Entry
from tests.refresh.daemon import UNIT, Daemon, Home, live


def test_identical_content_is_neither_rewritten_nor_told_after_a_restart(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper:
            async with Daemon(home) as daemon:
                await daemon.loaded()
            before = home.identity_of_file()
            async with Daemon(home) as daemon:
                await daemon.settled()
                assert daemon.generation() == 1
            assert home.identity_of_file() == before
            assert helper.told == [(UNIT, 1)]

    live(scenario())


def test_a_crash_between_publish_and_notify_notifies_after_the_restart(home: Home) -> None:
    async def scenario() -> None:
        async with Daemon(
            home, ready=False
        ) as daemon:  # nobody is told before READY: here it dies before that
            await daemon.until(lambda: daemon.generation() == 1)
        home.vault.fail("prod/bot")  # the source is down, too: what is published is told all the same
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded(generation=1)
            assert helper.told == [(UNIT, 1)]

    live(scenario())


def test_what_was_restarted_for_a_generation_is_not_older_than_it_for_the_next_daemon(home: Home) -> None:
    """Or a stop of the daemon between the restart of a unit and its confirmation restarts the unit twice."""

    async def scenario() -> None:
        async with home.helper():
            async with Daemon(home) as daemon:
                await daemon.loaded()
                record = daemon.state().record
                assert record is not None
            async with Daemon(home) as daemon:
                again = daemon.state().record
                assert again is not None
                assert again.published_monotonic == record.published_monotonic
            (home.state_dir / "journal.json").unlink()
            async with Daemon(home) as daemon:
                unknown = daemon.state().record
                assert unknown is not None
                assert unknown.published_monotonic > record.published_monotonic, "rather twice than never"

    live(scenario())


def test_a_crash_while_a_unit_is_being_told_tells_it_again(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper:
            helper.gate.clear()
            async with Daemon(home):
                await helper.asked.wait()
            assert journal.read(home.state_dir)["bot"].loaded == {}
            helper.gate.set()
            async with Daemon(home) as daemon:
                await daemon.loaded(generation=1)
            assert helper.told == [(UNIT, 1), (UNIT, 1)]
            assert home.units() == Entry(1, {UNIT: 1})

    live(scenario())


def test_the_number_of_a_generation_is_on_the_disk_before_it_can_be_shown(home: Home) -> None:
    async def scenario() -> None:
        seen = []
        async with home.helper(), Daemon(home, ready=False) as daemon:
            write = daemon.conductor.bundles.notebook.write

            async def noted() -> None:
                await write()
                seen.append(
                    (journal.read(home.state_dir)["bot"].generation, (home.runtime_dir / "bot").exists())
                )

            daemon.conductor.bundles.notebook.write = noted  # type: ignore[method-assign]
            await daemon.until(lambda: daemon.generation() == 1)
        assert seen[0] == (1, False)

    live(scenario())


def test_a_crash_after_the_journal_and_before_the_swap_gives_the_number_to_nobody_else(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper():
            async with Daemon(home) as daemon:
                await daemon.loaded()
            journal.write(home.state_dir, {"bot": Entry(5, {UNIT: 1})})
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            async with Daemon(home) as daemon:
                await daemon.loaded(generation=6)
                assert home.env() == b"TOKEN='fake-token-2'\n"

    live(scenario())


@pytest.mark.parametrize(
    "failure_class", [FailureClass.TRANSIENT, FailureClass.IDENTITY, FailureClass.REFUSAL]
)
def test_whatever_the_source_says_the_last_good_generation_stays_also_over_a_restart(
    home: Home, failure_class: FailureClass
) -> None:
    async def scenario() -> None:
        async with home.helper() as helper:
            async with Daemon(home) as daemon:
                await daemon.loaded()
                before = home.identity_of_file()
                home.vault.fail("prod/bot", failure_class)
                await daemon.refresh()
                assert home.identity_of_file() == before
            for _ in range(3):
                async with Daemon(home) as daemon:
                    await daemon.settled()
                    assert home.identity_of_file() == before
                    assert daemon.generation() == 1
                    assert daemon.status()["failures"][0]["failure_class"] == failure_class
            assert helper.told == [(UNIT, 1)]

    live(scenario())


def test_a_journal_that_cannot_be_written_stops_no_refresh_and_is_told(home: Home) -> None:
    home.state_dir.rmdir()
    home.state_dir.touch()

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            await daemon.loaded(generation=2)
            assert "cannot write the journal" in daemon.conductor.bundles.notebook.problem
            home.state_dir.unlink()
            home.state_dir.mkdir()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-3"})
            await daemon.refresh()
            await daemon.loaded(generation=3)
            assert daemon.conductor.bundles.notebook.problem == ""
            assert helper.told == [(UNIT, 1), (UNIT, 2), (UNIT, 3)]
        assert home.units() == Entry(3, {UNIT: 3})

    live(scenario())


@pytest.mark.parametrize("text", [None, b"{torn", b"[" * 100_000])
def test_a_lost_or_damaged_journal_tells_once_too_often_rather_than_never(
    home: Home, text: bytes | None
) -> None:
    async def scenario() -> None:
        async with home.helper() as helper:
            async with Daemon(home) as daemon:
                await daemon.loaded()
            before = home.identity_of_file()
            (home.state_dir / "journal.json").unlink()
            if text is not None:
                (home.state_dir / "journal.json").write_bytes(text)
            async with Daemon(home) as daemon:
                await daemon.loaded(generation=1)
                assert home.identity_of_file() == before
            assert helper.told == [(UNIT, 1), (UNIT, 1)]
            if text is not None:
                # It may have held an operator's word, which nothing else tells of.
                assert (home.state_dir / "journal.json.unreadable").read_bytes() == text

    live(scenario())


def test_after_a_reboot_a_generation_has_a_number_that_no_unit_has_loaded(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper:
            async with Daemon(home) as daemon:
                await daemon.loaded()
            home.runtime_dir.rename(home.directory / "gone-with-the-boot")
            async with Daemon(home) as daemon:
                await daemon.loaded(generation=2)
            assert helper.told == [(UNIT, 1), (UNIT, 2)]

    live(scenario())


@pytest.mark.parametrize("damage", ["altered", "removed", "unlinked", "record"])
def test_a_published_file_that_was_tampered_with_is_mended_by_the_next_refresh(
    home: Home, damage: str
) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded()
            good = home.env()
            env = home.runtime_dir / "bot" / "env"
            if damage == "altered":
                await asyncio.sleep(0.012)  # ctime is as coarse as the kernel's tick
                env.write_bytes(b"TOKEN='fake-evil-1'\n")
            elif damage == "removed":
                env.unlink()
            else:
                (home.runtime_dir / "bot").unlink()
            await daemon.refresh()
            assert home.env() == good
            assert daemon.generation() == 2
            await daemon.loaded(generation=2)

    live(scenario())


def test_a_copy_that_was_lost_while_the_daemon_was_down_is_made_again(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper():
            async with Daemon(home) as daemon:
                await daemon.loaded()
            (home.runtime_dir / ".copies" / "bot" / "1" / "record.json").unlink()
            async with Daemon(home) as daemon:
                await daemon.loaded(generation=2)
                record = published.read_record(home.runtime_dir, "bot")
                assert record is not None
                assert record.generation == 2

    live(scenario())


def test_what_a_killed_publish_left_is_swept_at_the_start(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper():
            async with Daemon(home) as daemon:
                await daemon.loaded()
            left = home.runtime_dir / ".generations" / "bot"
            for name in (".new-abcd", "2"):
                (left / name).mkdir()
                (left / name / "env").write_text("TOKEN='fake-half")
            async with Daemon(home) as daemon:
                assert sorted(os.listdir(left)) == ["1"]
                assert daemon.generation() == 1

    live(scenario())


def test_a_first_publish_that_fails_publishes_nothing_and_the_next_one_does(home: Home) -> None:
    (home.runtime_dir / "bot").mkdir(parents=True)
    (home.runtime_dir / "bot" / "stranger").touch()

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            assert daemon.status()["failures"][0]["failure_class"] == "io"
            assert helper.told == []
            (home.runtime_dir / "bot" / "stranger").unlink()
            (home.runtime_dir / "bot").rmdir()
            await daemon.refresh()
            await daemon.loaded(generation=2)
            assert daemon.status()["failures"] == []

    live(scenario())
