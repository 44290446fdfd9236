"""The journal in use: how often it is written, and what it keeps in a run that cannot write it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from secretsd.errors import LocalIOError
from secretsd.refresh import journal
from secretsd.refresh.journal import Entries, Entry
from secretsd.refresh.notebook import Notebook
from secretsd.refresh.state import BundleState
from tests.refresh.daemon import UNIT, Daemon, Home, a_bundle, live

NAMES = [f"bot-{number}" for number in range(10)]


class Writes:
    """What was written to the journal, in order; `broken` makes each further one fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written: list[dict[str, Entry]] = []
        self.broken = False
        self._write = journal.write
        monkeypatch.setattr(journal, "write", self)

    def __call__(self, state_dir: Path, entries: Entries) -> None:
        self.written.append(dict(entries))
        if self.broken:
            raise LocalIOError("cannot write the journal: no space", advice="free space")
        self._write(state_dir, entries)


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Writes:
    return Writes(monkeypatch)


def quiet(home: Home) -> Home:
    home.configure(*(a_bundle(name, more="") for name in NAMES))
    return home


def test_a_round_writes_the_journal_once_however_many_bundles_it_publishes(
    home: Home, writes: Writes
) -> None:
    quiet(home)

    async def scenario() -> None:
        async with Daemon(home) as daemon:
            for generation in (1, 2, 3):
                assert {daemon.generation(name) for name in NAMES} == {generation}
                await asyncio.sleep(0.3)  # the history follows a moment later, once for all
                assert len(writes.written) == 2 * generation
                on_disk = journal.read(home.state_dir)
                assert all(on_disk[name].generation >= generation for name in NAMES)
                home.vault.put("prod/bot", {"TOKEN": f"fake-token-{generation + 1}"})
                await daemon.refresh(*NAMES)

    live(scenario())


def test_a_round_that_publishes_nothing_writes_nothing(home: Home, writes: Writes) -> None:
    quiet(home)

    async def scenario() -> None:
        async with Daemon(home) as daemon:
            await asyncio.sleep(0.3)
            written = len(writes.written)
            await daemon.refresh(*NAMES)
            home.vault.fail("prod/bot")
            await daemon.refresh(*NAMES)
            assert len(writes.written) == written

    live(scenario())


def test_no_number_is_given_twice_in_a_run_that_cannot_write(home: Home, writes: Writes) -> None:
    writes.broken = True
    quiet(home)

    async def scenario() -> None:
        given: dict[str, list[int]] = {name: [] for name in NAMES}
        async with Daemon(home) as daemon:
            reserve = daemon.conductor.bundles.notebook.reserve

            async def noted(name: str, generation: int, neighbours: object) -> None:
                given[name].append(generation)
                await reserve(name, generation, neighbours)  # type: ignore[arg-type]

            daemon.conductor.bundles.notebook.reserve = noted  # type: ignore[method-assign,assignment]
            for number in (2, 3, 4):
                home.vault.put("prod/bot", {"TOKEN": f"fake-token-{number}"})
                daemon.workers.lost_before = "published" if number == 3 else None
                await daemon.refresh(*(NAMES if number != 3 else NAMES[:5]))
            daemon.workers.lost_before = None
            await daemon.refresh(*NAMES)
        for numbers in given.values():
            assert numbers == sorted(set(numbers))

    live(scenario())


def test_a_number_that_was_reserved_and_not_shown_is_not_given_again_after_a_crash(
    home: Home, writes: Writes
) -> None:
    quiet(home)

    async def scenario() -> None:
        async with Daemon(home) as daemon:
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            daemon.workers.lost_before = "prepared"
            await daemon.refresh(*NAMES)
        reserved = {name: entry.generation for name, entry in journal.read(home.state_dir).items()}
        async with Daemon(home) as daemon:
            for name in NAMES:
                generation = daemon.generation(name)
                assert generation is not None
                assert generation > reserved[name]

    live(scenario())


def test_what_is_known_of_removed_bundles_outlives_every_later_write(home: Home, writes: Writes) -> None:
    home.vault.put("other", {"TOKEN": "fake-token-0"})
    other = a_bundle("other", secret="other")
    home.configure(a_bundle(), other)

    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            await daemon.loaded("bot")
            await daemon.loaded("other")
            known = journal.read(home.state_dir)["bot"]
            home.configure(other)
            await daemon.conductor.reload_configuration()
            await daemon.until(lambda: "bot" not in daemon.conductor.states)
            home.vault.put("other", {"TOKEN": "fake-token-2"})
            await daemon.refresh("other")
            await daemon.loaded("other", 2)
            assert journal.read(home.state_dir)["bot"] == replace(known, shown=0)

    live(scenario())


def test_a_caller_that_gives_up_does_not_let_two_writes_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most, begun = 0, 0, asyncio.Event()

    async def scenario() -> None:
        loop = asyncio.get_running_loop()

        def slow(state_dir: Path, entries: Entries) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            loop.call_soon_threadsafe(begun.set)
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0.03), loop).result()
            running -= 1

        monkeypatch.setattr(journal, "write", slow)
        notebook = Notebook(tmp_path, {"bot": BundleState()})
        first = asyncio.create_task(notebook.write())
        await begun.wait()
        first.cancel()
        await asyncio.gather(notebook.write(), notebook.write())
        assert most == 1

    live(scenario())


def test_a_unit_that_loads_forgets_its_failure_and_never_goes_back(tmp_path: Path) -> None:
    states = {"bot": BundleState()}
    notebook = Notebook(tmp_path, states)

    async def scenario() -> None:
        await notebook.record_failed("bot", UNIT, 2)
        assert journal.read(tmp_path)["bot"] == Entry(0, {}, {UNIT: 2})
        await notebook.record_loaded("bot", UNIT, 2)
        await notebook.record_loaded("bot", UNIT, 1)
        assert journal.read(tmp_path)["bot"] == Entry(0, {UNIT: 2}, {})

    live(scenario())


def test_the_same_failure_again_is_not_written_again(tmp_path: Path, writes: Writes) -> None:
    notebook = Notebook(tmp_path, {"bot": BundleState()})

    async def scenario() -> None:
        for _ in range(5):
            await notebook.record_failed("bot", UNIT, 2)
        assert len(writes.written) == 1

    live(scenario())
