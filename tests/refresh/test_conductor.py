"""The conductor over real directories and the real worker: rounds, failures, rotations."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from secretsd.errors import FailureClass
from secretsd.refresh import schedule
from secretsd.refresh.plan import KeepPublished, NotifyUnit, PublishBundle
from tests.refresh.daemon import UNIT, Daemon, Home, a_bundle, live


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

    live(scenario())


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

    live(scenario())


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

    live(scenario())


def test_a_worker_killed_before_the_swap_changes_nothing_and_is_tried_again_soon(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            await daemon.loaded()
            before = home.identity_of_file()
            daemon.workers.lost_before = "prepared"
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            assert home.identity_of_file() == before
            assert daemon.status()["failures"][0]["code"] == "worker-lost"
            await daemon.until(lambda: daemon.state().next_due - time.monotonic() < 6)
            daemon.workers.lost_before = None
            await daemon.refresh()
            await daemon.loaded(generation=2)
            assert daemon.status()["failures"] == []
            assert helper.told == [(UNIT, 1), (UNIT, 2)]

    live(scenario())


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

    live(scenario())


def test_more_bundles_than_a_worker_has_time_for_are_refreshed_in_rounds_that_fit(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "MOST_SECRETS", 2)
    names = [f"bot-{number}" for number in range(5)]
    for name in names:
        home.vault.put(f"prod/{name}", {"TOKEN": f"fake-token-of-{name}"})
    home.configure(*(a_bundle(name, secret=f"prod/{name}", more="") for name in names))

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.until(lambda: all(daemon.state(name).record for name in names))
            assert [len(refs) for refs in home.vault.fetches] == [2, 2, 1]
            steps = await daemon.conductor.dry_run(names)
            assert {step.bundle for step in steps if isinstance(step, KeepPublished)} == set(names)

    live(scenario())


def test_a_secret_that_two_bundles_use_is_fetched_once(home: Home) -> None:
    home.configure(a_bundle("a"), a_bundle("b"))

    async def scenario() -> None:
        async with home.helper(), Daemon(home):
            assert home.vault.fetches == [("prod/bot",)]
            assert home.env("a") == home.env("b")

    live(scenario())


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

    live(scenario())


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

    live(scenario())


def test_nobody_is_told_before_ready(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home, ready=False) as daemon:
            await daemon.until(lambda: daemon.generation() == 1)
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            await daemon.settled()
            assert helper.requests == []
            daemon.conductor.bundles.be_ready()
            await daemon.loaded(generation=2)
            assert helper.told == [(UNIT, 2)], "of the newest only"

    live(scenario())


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

    live(scenario())


def test_a_due_bundle_is_refreshed_without_being_asked_for(home: Home) -> None:
    home.config.write_text(home.config.read_text().replace('"1h"', '"1s"\nrefresh_jitter = "0"'))

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            assert daemon.state().next_due - time.monotonic() <= 1.0
            daemon.state().next_due = time.monotonic()
            daemon.conductor.request_refresh([])  # wakes it: the clock is not waited for
            await daemon.loaded(generation=2)

    live(scenario())


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
            daemon.conductor.bundles.be_ready()
            await daemon.loaded("bot")
            home.vault.open_gate.set()

    live(scenario())


def test_a_bundle_without_units_counts_as_loaded_when_published(home: Home) -> None:
    home.configure(a_bundle(more=""))

    async def scenario() -> None:
        async with Daemon(home) as daemon:
            assert daemon.status()["state"] == "loaded"

    live(scenario())
