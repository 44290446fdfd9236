"""The conductor over real directories and the real worker; a crash is a second one over the same directories."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from secretsd.errors import ConfigError, FailureClass
from secretsd.refresh import journal, published
from secretsd.refresh.journal import Entry
from secretsd.refresh.plan import KeepPublished, NotifyUnit, PublishBundle
from tests.refresh.daemon import TOLD, UNIT, Daemon, Home, a_bundle

DEADLINE_S = 15.0


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, DEADLINE_S))


def test_a_rotation_is_published_and_its_unit_told_once(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            assert home.env() == b"TOKEN='fake-token-1'\n"
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            await daemon.loaded(generation=2)
            assert home.env() == b"TOKEN='fake-token-2'\n"
            await daemon.settled()
            assert helper.told == [(UNIT, 1), (UNIT, 2)]
            assert daemon.status()["state"] == "loaded"

    run(scenario())


def test_identical_content_is_neither_rewritten_nor_told(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            before, version = home.identity_of_file(), daemon.status()["secrets"][0]["version_id"]
            home.vault.put("prod/bot", {"TOKEN": "fake-token-1", "UNUSED": "new"})
            await daemon.refresh()
            await daemon.refresh()
            await daemon.settled()
            assert home.identity_of_file() == before
            assert helper.told == [(UNIT, 1)]
            assert daemon.status()["secrets"][0]["version_id"] != version, (
                "the source's version is still shown"
            )

    run(scenario())


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

    run(scenario())


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

    run(scenario())


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
            assert journal.read(home.state_dir)["bot"] == Entry(1, {UNIT: 1})

    run(scenario())


def test_the_number_of_a_generation_is_on_the_disk_before_it_can_be_shown(home: Home) -> None:
    async def scenario() -> None:
        seen = []
        async with home.helper(), Daemon(home, ready=False) as daemon:
            write = daemon.conductor._write_journal

            async def noted() -> None:
                await write()
                seen.append(
                    (journal.read(home.state_dir)["bot"].generation, (home.runtime_dir / "bot").exists())
                )

            daemon.conductor._write_journal = noted  # type: ignore[method-assign]
            await daemon.until(lambda: daemon.generation() == 1)
        assert seen[0] == (1, False)

    run(scenario())


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

    run(scenario())


def test_a_worker_killed_after_the_swap_has_published_and_the_bot_still_learns(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            daemon.workers.lost_before = "published"
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            assert home.env() == b"TOKEN='fake-token-2'\n"
            await daemon.loaded(generation=2)
            assert helper.told == [(UNIT, 1), (UNIT, 2)]

    run(scenario())


def test_a_worker_killed_before_the_swap_changes_nothing_and_is_tried_again_soon(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            before = home.identity_of_file()
            daemon.workers.lost_before = "prepared"
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            assert home.identity_of_file() == before
            assert daemon.status()["failures"][0]["code"] == "no-answer"
            assert daemon.state().next_due - time.monotonic() < 6
            daemon.workers.lost_before = None
            await daemon.refresh()
            await daemon.loaded(generation=2)
            assert daemon.status()["failures"] == []
            assert helper.told == [(UNIT, 1), (UNIT, 2)]

    run(scenario())


def test_requests_that_arrive_together_are_one_round(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            fetched = len(home.vault.fetches)
            home.vault.hang("prod/bot")
            first = daemon.conductor.request_refresh(["bot"])
            assert daemon.conductor.request_refresh(["bot"]) == first
            assert await asyncio.to_thread(home.vault.fetching.wait, 5)
            # The round has begun: what is asked for now must see the secrets as they are from now on.
            later = [daemon.conductor.request_refresh(["bot"]) for _ in range(10)]
            assert all(target["bot"] == first["bot"] + 1 for target in later)
            home.vault.open_gate.set()
            await daemon.until(lambda: daemon.state().ended >= later[0]["bot"])
            assert len(home.vault.fetches) == fetched + 2

    run(scenario())


def test_a_secret_that_two_bundles_use_is_fetched_once(home: Home) -> None:
    home.configure(a_bundle("a"), a_bundle("b"))

    async def scenario() -> None:
        async with home.helper(), Daemon(home):
            assert home.vault.fetches == [("prod/bot",)]
            assert home.env("a") == home.env("b")

    run(scenario())


def test_one_broken_bundle_stops_none_of_the_others(home: Home) -> None:
    home.configure(a_bundle("bad", secret="bad"), a_bundle("bot"))
    home.vault.put("bad", {"TOKEN": "fake-token-1"})

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded("bad")
            await daemon.loaded("bot")
            before = home.identity_of_file("bad")
            home.vault.put("bad", {"TOKEN": "x"})  # breaks min_length
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh("bad", "bot")
            await daemon.loaded("bot", 2)
            assert home.identity_of_file("bad") == before
            assert daemon.status("bad")["failures"][0]["variable"] == "TOKEN"
            assert daemon.status("bad")["state"] == "loaded"
            assert daemon.status("bot")["failures"] == []
            assert helper.told.count((UNIT, 2)) == 1

    run(scenario())


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

    run(scenario())


def test_withdraw_takes_the_files_at_a_refusal_and_brings_them_back_as_a_new_generation(home: Home) -> None:
    home.configure(a_bundle(keys='on_refusal = "withdraw"'), a_bundle("other"))

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            home.vault.fail("prod/bot", FailureClass.TRANSIENT)
            await daemon.refresh()
            assert (home.runtime_dir / "bot" / "env").exists(), "an outage withdraws nothing"
            home.vault.fail("prod/bot", FailureClass.REFUSAL)
            await daemon.refresh("bot", "other")
            assert not os.path.lexists(home.runtime_dir / "bot")
            assert not list(home.runtime_dir.glob(".*/bot"))
            assert home.env("other")
            assert daemon.status()["state"] == "missing"
            home.vault.put("prod/bot", {"TOKEN": "fake-token-1"})
            await daemon.refresh()
            await daemon.loaded(generation=2)
            assert helper.told.count((UNIT, 2)) == 1

    run(scenario())


def test_a_bundle_that_the_configuration_drops_is_removed_and_the_others_stay(home: Home) -> None:
    home.configure(a_bundle("bot"), a_bundle("other"))

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded("other")
            before = home.identity_of_file("other")
            home.configure(a_bundle("other"))
            await daemon.conductor.reload_configuration()
            await daemon.refresh("other")
            await daemon.until(lambda: "bot" not in daemon.conductor.states)
            assert not os.path.lexists(home.runtime_dir / "bot")
            assert not list(home.runtime_dir.glob(".*/bot"))
            assert home.identity_of_file("other") == before

    run(scenario())


def test_a_bundle_that_was_dropped_while_the_daemon_was_down_is_removed_at_its_start(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper():
            async with Daemon(home) as daemon:
                await daemon.loaded()
            home.configure(a_bundle("other"))
            async with Daemon(home) as daemon:
                await daemon.until(lambda: "bot" not in daemon.conductor.states)
                assert not os.path.lexists(home.runtime_dir / "bot")
                assert home.env("other")

    run(scenario())


def test_a_bundle_that_could_not_be_removed_is_tried_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.configure(a_bundle("bot"), a_bundle("other"))
    remove, refused = published.remove, asyncio.Event()

    def read_only(*_: object) -> None:
        refused.set()
        raise OSError(30, "Read-only file system")

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            monkeypatch.setattr(published, "remove", read_only)
            home.configure(a_bundle("other"))
            await daemon.conductor.reload_configuration()
            await daemon.refresh("other")
            await refused.wait()
            monkeypatch.setattr(published, "remove", remove)
            assert (home.runtime_dir / "bot").exists()
            await daemon.refresh("other")
            await daemon.until(lambda: "bot" not in daemon.conductor.states)
            assert not os.path.lexists(home.runtime_dir / "bot")

    run(scenario())


def test_a_bundle_that_comes_back_in_the_configuration_is_published_anew(home: Home) -> None:
    home.configure(a_bundle("bot"), a_bundle("other"))

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            for bundles in (["other"], ["other", "bot"]):
                home.configure(*map(a_bundle, bundles))
                await daemon.conductor.reload_configuration()
                await daemon.refresh(*bundles)
            await daemon.loaded("bot")
            assert home.env("bot")

    run(scenario())


def test_a_bad_configuration_leaves_the_running_one_in_force(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            before = daemon.conductor.config
            home.configure(a_bundle().replace("owner", "owmer"), a_bundle("broken") + "colour = 3\n")
            with pytest.raises(ConfigError):
                await daemon.conductor.reload_configuration()
            assert daemon.conductor.config is before
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            await daemon.loaded(generation=2)

    run(scenario())


def test_a_directory_that_changes_under_a_running_daemon_is_refused(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            text = home.config.read_text().replace(str(home.runtime_dir), str(home.directory / "elsewhere"))
            home.config.write_text(text)
            with pytest.raises(ConfigError, match="restart secretsd"):
                await daemon.conductor.reload_configuration()
            assert not (home.directory / "elsewhere").exists()

    run(scenario())


def test_a_journal_that_cannot_be_written_stops_no_refresh_and_is_told(home: Home) -> None:
    home.state_dir.rmdir()
    home.state_dir.touch()

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            await daemon.loaded(generation=2)
            assert "cannot write the journal" in daemon.conductor.journal_problem
            home.state_dir.unlink()
            home.state_dir.mkdir()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-3"})
            await daemon.refresh()
            await daemon.loaded(generation=3)
            assert daemon.conductor.journal_problem == ""
            assert helper.told == [(UNIT, 1), (UNIT, 2), (UNIT, 3)]
        assert journal.read(home.state_dir)["bot"] == Entry(3, {UNIT: 3})

    run(scenario())


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

    run(scenario())


def test_after_a_reboot_a_generation_has_a_number_that_no_unit_has_loaded(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper:
            async with Daemon(home) as daemon:
                await daemon.loaded()
            home.runtime_dir.rename(home.directory / "gone-with-the-boot")
            async with Daemon(home) as daemon:
                await daemon.loaded(generation=2)
            assert helper.told == [(UNIT, 1), (UNIT, 2)]

    run(scenario())


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

    run(scenario())


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

    run(scenario())


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

    run(scenario())


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

    run(scenario())


def test_nobody_is_told_before_ready(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            await daemon.until(lambda: daemon.generation() == 1)
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            await daemon.settled()
            assert helper.requests == []
            daemon.conductor.be_ready()
            await daemon.loaded(generation=2)
            assert helper.told == [(UNIT, 2)], "of the newest only"

    run(scenario())


def test_a_dry_run_changes_nothing_and_says_what_a_refresh_would_do(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            assert await daemon.conductor.dry_run(["bot"]) == (KeepPublished("bot"),)
            before, status = home.identity_of_file(), daemon.status()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            assert await daemon.conductor.dry_run(["bot"]) == (
                PublishBundle("bot", 2, "its content changed"),
                NotifyUnit("bot", 2, UNIT, "reload"),
            )
            await daemon.settled()
            assert home.identity_of_file() == before
            assert helper.told == [(UNIT, 1)]
            assert {**daemon.status(), "next_refresh_s": 0} == {**status, "next_refresh_s": 0}

    run(scenario())


def test_a_due_bundle_is_refreshed_without_being_asked_for(home: Home) -> None:
    home.config.write_text(home.config.read_text().replace('"1h"', '"1s"\nrefresh_jitter = "0"'))

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            assert daemon.state().next_due - time.monotonic() <= 1.0
            daemon.state().next_due = time.monotonic()
            daemon.conductor.request_refresh([])  # wakes it: the clock is not waited for
            await daemon.loaded(generation=2)

    run(scenario())


def test_a_hung_source_does_not_hold_up_another_sources_bundles(home: Home) -> None:
    home.configure(
        a_bundle("slow", secret="slow"),
        a_bundle("bot").replace('source = "aws"', 'source = "second"'),
        '[sources.second]\ntype = "aws-secretsmanager"\n',
    )

    home.vault.hang("slow")

    async def scenario() -> None:
        async with home.helper(), Daemon(home, ready=False) as daemon:
            await daemon.until(lambda: daemon.generation("bot") == 1)
            assert daemon.state("slow").ended == 0
            daemon.conductor.be_ready()
            await daemon.loaded("bot")
            home.vault.open_gate.set()

    run(scenario())


def test_a_bundle_without_units_counts_as_loaded_when_published(home: Home) -> None:
    home.configure(a_bundle(more=""))

    async def scenario() -> None:
        async with Daemon(home) as daemon:
            assert daemon.status()["state"] == "loaded"

    run(scenario())


def test_a_unit_that_the_configuration_adds_is_told_of_what_is_published(home: Home) -> None:
    home.configure(a_bundle(more=""))

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            home.configure(a_bundle(more=TOLD))
            await daemon.conductor.reload_configuration()
            await daemon.refresh()
            await daemon.loaded(generation=1)
            assert helper.told == [(UNIT, 1)]

    run(scenario())
