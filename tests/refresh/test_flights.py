"""Which bundles share a round, and which do not wait for each other."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import pytest

from secretsd.control.commands import Commands
from secretsd.errors import ConfigError, ExitCode, UsageError
from secretsd.model import EndpointSeen
from secretsd.refresh import conductor
from secretsd.refresh.messages import SourceAsked
from tests.refresh.daemon import Daemon, Home, a_bundle, live

HOUR_S = 3600.0
NAMES = ("a", "b", "c")


def bundles_of(*names: str, source: str = "aws", keys: str = "") -> str:
    """A bundle each, with a secret of its own name; nobody is told."""
    tables = (a_bundle(name, secret=name, keys=keys, more="") for name in names)
    return "".join(tables).replace('source = "aws"', f'source = "{source}"')


SECOND = '[sources.second]\ntype = "aws-secretsmanager"\n'


@pytest.fixture(params=["0s", "30s"])
def steady(home: Home, request: pytest.FixtureRequest) -> Home:
    """Three bundles of one source that are refreshed every hour, with both kinds of jitter."""
    secrets(home, *NAMES)
    home.configure(bundles_of(*NAMES))
    interval = 'refresh_interval = "1h"'
    home.config.write_text(
        home.config.read_text().replace(interval, f'{interval}\nrefresh_jitter = "{request.param}"')
    )
    return home


def secrets(home: Home, *ids: str) -> None:
    for secret_id in ids:
        home.vault.put(secret_id, {"TOKEN": "fake-token-1"})


def fetched_since(home: Home, count: int) -> list[list[str]]:
    return [sorted(ids) for ids in home.vault.fetches[count:]]


async def pass_by(daemon: Daemon, seconds: float) -> None:
    """As if so much time had gone by; whatever is due by then has been refreshed on return."""
    await daemon.until(lambda: not daemon.conductor.bundles.flying)
    for state in daemon.conductor.states.values():
        state.next_due -= seconds
    daemon.conductor.request_refresh([])  # wakes it
    await daemon.until(
        lambda: (
            all(s.next_due > time.monotonic() for s in daemon.conductor.states.values())
            and not daemon.conductor.bundles.flying
        )
    )


async def an_hour(daemon: Daemon) -> list[list[str]]:
    """What a whole hour's fetches ask for."""
    before = len(daemon.home.vault.fetches)
    for _ in range(12):
        await pass_by(daemon, HOUR_S / 12 + 3)  # with the jitter
    return fetched_since(daemon.home, before)


def test_bundles_of_one_source_are_one_round_hour_after_hour(steady: Home) -> None:
    async def scenario() -> None:
        async with Daemon(steady) as daemon:
            for _ in range(3):
                assert await an_hour(daemon) == [["a", "b", "c"]]
            assert daemon.workers.started == 4

    live(scenario())


@pytest.mark.parametrize("after_s", [60.0, HOUR_S * 0.4, HOUR_S * 0.6, HOUR_S - 60])
def test_bundles_that_single_refreshes_have_parted_come_together_again(steady: Home, after_s: float) -> None:
    async def scenario() -> None:
        async with Daemon(steady) as daemon:
            await pass_by(daemon, after_s)
            await daemon.refresh("a")
            await pass_by(daemon, 120.0)
            await daemon.refresh("b")
            await an_hour(daemon)
            assert await an_hour(daemon) == [["a", "b", "c"]]

    live(scenario())


def test_bundles_that_an_outage_has_parted_come_together_again(steady: Home) -> None:
    async def scenario() -> None:
        async with Daemon(steady) as daemon:
            steady.vault.fail("b")
            await daemon.refresh("b")
            for _ in range(5):
                await pass_by(daemon, 30.0)
            assert daemon.state("b").failed_attempts > 1
            secrets(steady, "b")
            await an_hour(daemon)
            assert daemon.status("b")["failures"] == []
            assert await an_hour(daemon) == [["a", "b", "c"]]

    live(scenario())


def test_the_retries_of_one_bundle_do_not_ask_for_the_others_each_time(steady: Home) -> None:
    async def scenario() -> None:
        async with Daemon(steady) as daemon:
            steady.vault.fail("b")
            await daemon.refresh("b")
            before = len(steady.vault.fetches)
            for _ in range(10):
                await pass_by(daemon, 60.0)
            found = fetched_since(steady, before)
            assert found == [["b"]] * len(found)

    live(scenario())


def test_bundles_with_intervals_of_their_own_keep_to_them(home: Home) -> None:
    secrets(home, "often", "seldom")
    home.configure(
        bundles_of("often", keys='refresh_interval = "5m"'),
        bundles_of("seldom", keys='refresh_interval = "10h"'),
    )

    async def scenario() -> None:
        async with Daemon(home) as daemon:
            before = len(home.vault.fetches)
            for _ in range(12):
                await pass_by(daemon, 331)  # with the jitter
            assert fetched_since(home, before) == [["often"]] * 12

    live(scenario())


def hanging(home: Home) -> Home:
    """Two sources; the one of `slow` answers at the start and then hangs."""
    secrets(home, "slow", "good")
    home.configure(bundles_of("slow"), bundles_of("good", source="second"), SECOND)
    return home


async def stuck(daemon: Daemon) -> None:
    daemon.home.vault.hang("slow")
    daemon.conductor.request_refresh(["slow"])
    assert await asyncio.to_thread(daemon.home.vault.fetching.wait, 5)


async def reload(daemon: Daemon, name: str | None = None) -> Any:
    return await Commands(daemon.conductor).run("reload", name, {"timeout": "5s"})


def test_a_reload_of_one_sources_bundle_does_not_wait_for_another_source_that_hangs(home: Home) -> None:
    hanging(home)

    async def scenario() -> None:
        async with Daemon(home) as daemon:
            await stuck(daemon)
            before = time.monotonic()
            home.vault.put("good", {"TOKEN": "fake-token-2"})
            assert (await reload(daemon, "good")).code is ExitCode.OK
            assert time.monotonic() - before < 1
            assert daemon.generation("good") == 2
            assert daemon.state("slow").ended == 1, "it still hangs"

    live(scenario())


def test_a_source_that_hangs_holds_up_neither_removals_nor_new_bundles(home: Home) -> None:
    hanging(home)
    secrets(home, "new")

    async def scenario() -> None:
        async with Daemon(home) as daemon:
            await stuck(daemon)
            home.configure(bundles_of("slow"), bundles_of("new", source="second"), SECOND)
            assert (await reload(daemon, "new")).code is ExitCode.OK
            assert home.env("new")
            await daemon.until(lambda: "good" not in daemon.conductor.states)
            assert not os.path.lexists(home.runtime_dir / "good")
            assert daemon.state("slow").ended == 1, "it still hangs"

    live(scenario())


def test_a_bundle_of_the_source_that_hangs_is_removed_when_it_is_in_no_round(home: Home) -> None:
    secrets(home, "slow", "idle")
    home.configure(bundles_of("slow", "idle"))

    async def scenario() -> None:
        async with Daemon(home) as daemon:
            await stuck(daemon)
            home.configure(bundles_of("slow"))
            await daemon.conductor.reload_configuration()
            await daemon.until(lambda: "idle" not in daemon.conductor.states)
            assert not os.path.lexists(home.runtime_dir / "idle")

    live(scenario())


def test_a_bundle_whose_source_is_changed_under_its_round_waits_for_its_end(home: Home) -> None:
    hanging(home)

    async def scenario() -> None:
        async with Daemon(home) as daemon:
            await stuck(daemon)
            home.configure(bundles_of("slow", "good", source="second"), SECOND)
            await daemon.conductor.reload_configuration()
            await daemon.refresh("good")
            assert (daemon.state("slow").begun, daemon.state("slow").ended) == (2, 1)
            home.vault.open_gate.set()
            await daemon.until(lambda: daemon.state("slow").ended == 3)

    live(scenario())


def test_a_reload_during_a_round_refreshes_with_the_new_configuration_when_the_round_has_ended(
    home: Home,
) -> None:
    """The round still works by the old rules: what it brings must not stay for a whole interval."""
    secrets(home, "slow")
    home.configure(bundles_of("slow"))

    async def scenario() -> None:
        async with Daemon(home) as daemon:
            await stuck(daemon)
            home.configure(bundles_of("slow").replace("TOKEN = {", 'EXTRA = { default = "x" }\nTOKEN = {'))
            await daemon.conductor.reload_configuration()
            home.vault.open_gate.set()
            await daemon.until(lambda: daemon.generation("slow") == 2)
            assert home.env("slow") == b"EXTRA='x'\nTOKEN='fake-token-1'\n"

    live(scenario())


def test_what_a_configuration_changes_is_refreshed_at_once_also_if_another_bundle_was_reloaded(
    home: Home,
) -> None:
    secrets(home, "a", "b")
    home.configure(bundles_of("a", "b"))

    async def scenario() -> None:
        async with Daemon(home) as daemon:
            more = bundles_of("b").replace("TOKEN = {", 'EXTRA = { default = "x" }\nTOKEN = {')
            home.configure(bundles_of("a"), more)
            assert (await reload(daemon, "a")).code is ExitCode.OK
            await daemon.until(lambda: daemon.generation("b") == 2)
            assert home.env("b") == b"EXTRA='x'\nTOKEN='fake-token-1'\n"

    live(scenario())


def test_of_two_reloads_at_once_the_one_that_read_last_wins(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets(home, "a", "b")
    home.configure(bundles_of("a", "b"))
    load, loop_has = conductor.load_checked, asyncio.Event()

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with Daemon(home) as daemon:
            read = []

            def slow_at_first(path: Any) -> Any:
                found = load(path)
                read.append(found)
                if len(read) == 1:
                    loop.call_soon_threadsafe(loop_has.set)
                    time.sleep(0.1)
                return found

            monkeypatch.setattr(conductor, "load_checked", slow_at_first)
            first = asyncio.create_task(reload(daemon))
            await loop_has.wait()
            home.configure(bundles_of("a"))
            await reload(daemon)
            await first
            assert set(daemon.conductor.config.bundles) == {"a"}
            await daemon.until(lambda: "b" not in daemon.conductor.states)

    live(scenario())


def test_a_refused_reload_is_logged_and_names_a_mistake(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with Daemon(home) as daemon:
            home.configure(a_bundle() + "colour = 3\n")
            with pytest.raises(ConfigError):
                await daemon.conductor.reload_configuration()

    live(scenario())
    (refused,) = [record for record in caplog.records if "refused" in record.getMessage()]
    assert "colour" in vars(refused)["first"]


def test_a_reload_of_a_misspelt_bundle_says_that_the_configuration_is_in_force(home: Home) -> None:
    secrets(home, "added")

    async def scenario() -> None:
        async with Daemon(home) as daemon:
            home.configure(bundles_of("added"))
            with pytest.raises(UsageError, match=r"did you mean 'added'.*configuration was read"):
                await reload(daemon, "addde")
            await daemon.until(lambda: daemon.generation("added") == 1)

    live(scenario())


# --- outages -------------------------------------------------------------------------------------------


def silent(*codes: str, did: str = "fails") -> SourceAsked:
    seen = tuple(EndpointSeen("secretsmanager", did, code) for code in codes)  # type: ignore[arg-type]
    return SourceAsked("aws", {}, seen)


def test_an_outage_that_one_round_has_found_holds_back_the_others_and_an_operator_is_not_held_back(
    home: Home,
) -> None:
    secrets(home, "a", "b")
    (home.directory / "file").write_bytes(b"fake-token")
    files = f'[sources.files]\ntype = "file"\ndirectory = "{home.directory}"\n'
    mixed = bundles_of("b") + '[[bundles.b.secrets]]\nsource = "files"\nid = "file"\nvariable = "OTHER"\n'
    home.configure(bundles_of("a"), files, mixed)

    async def scenario() -> None:
        async with Daemon(home) as daemon:
            await daemon.until(lambda: not daemon.conductor.bundles.flying)
            book, config = daemon.conductor.bundles.sources, daemon.conductor.config
            book.heard(config, silent("unreachable", "unreachable"))
            at = book.breakers["secretsmanager"].retry_at
            assert at > time.monotonic()
            await daemon.until(lambda: not daemon.conductor.bundles.flying)
            before = len(home.vault.fetches)
            for state in daemon.conductor.states.values():
                state.next_due = 0.0
            daemon.conductor.request_refresh([])
            await asyncio.sleep(0.2)
            assert home.vault.fetches[before:] == [], "the endpoint is not asked again before its time"
            await daemon.refresh("a")
            assert home.vault.fetches[before:] == [("a",)]
            book.heard(config, silent("", did="answers"))
            daemon.conductor.request_refresh([])
            await daemon.until(lambda: daemon.state("b").ended == 2)

    live(scenario())
