"""A conductor as the daemon runs it, over directories of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from secretsd.config.load import load_checked
from secretsd.control.report import document
from secretsd.refresh import journal
from secretsd.refresh.conductor import Conductor
from secretsd.refresh.journal import Entry
from secretsd.refresh.state import BundleState
from tests.canary.daemon import Watched
from tests.canary.gate import GATE
from tests.refresh.fakes import FakeHelper, FakeVault, ThreadWorkers

SOON_S = 5.0
_LIFE_S = 15.0
UNIT = "bot.service"

TOLD = f"""
[[bundles.NAME.on_change]]
unit = "{UNIT}"
action = "reload"
confirm = "0"
"""


def a_bundle(name: str = "bot", *, secret: str = "prod/bot", keys: str = "", more: str = TOLD) -> str:
    """The tables of a bundle that publishes TOKEN; NAME in `more` stands for its name."""
    return f"""
[bundles.{name}]
{keys}
[[bundles.{name}.secrets]]
source = "aws"
id = "{secret}"
[bundles.{name}.variables]
TOKEN = {{ min_length = 3 }}
{more.replace("NAME", name)}
"""


def live(scenario: Coroutine[Any, Any, None]) -> None:
    """Runs a test's scenario on a loop of its own; one that hangs is a failure."""
    asyncio.run(asyncio.wait_for(scenario, _LIFE_S))


class Home:
    """What outlives a daemon: its configuration, directories, vault and helper."""

    def __init__(self, directory: Path, vault: FakeVault) -> None:
        self.directory = directory
        self.vault = vault
        self.config = directory / "secretsd.toml"
        self.runtime_dir = directory / "run"
        self.state_dir = directory / "state"
        self.state_dir.mkdir()
        self.key = directory / "seal-key"
        self.key.touch(0o600)
        self.key.write_bytes(bytes(range(32)))
        self.socket = str(directory / "n")
        self.configure(a_bundle())
        # Its process is this one, which has the secrets itself: its files and what it prints are looked at.
        GATE.watch(Watched("conductor", self.config))

    def configure(self, *bundles: str) -> None:
        self.config.write_text(f"""
[daemon]
runtime_dir = "{self.runtime_dir}"
state_dir = "{self.state_dir}"
seal_key = "file:{self.key}"
notify_socket = "{self.socket}"
refresh_interval = "1h"
[sources.aws]
type = "aws-secretsmanager"
{"".join(bundles)}
""")

    @property
    def copies(self) -> list[str]:
        """The generations of which there is a sealed copy of the bundle "bot"."""
        directory = self.state_dir / "sealed" / "bot"
        return sorted(os.listdir(directory)) if directory.exists() else []

    def reboot(self) -> None:
        """Memory is gone, the disk stays."""
        shutil.rmtree(self.runtime_dir)

    def helper(self) -> FakeHelper:
        return FakeHelper(self.socket)

    def units(self, name: str = "bot") -> Entry:
        """What the journal on the disk holds of the bundle's numbers and units, without its history."""
        return replace(journal.read(self.state_dir)[name], shown=0, history=())

    def env(self, name: str = "bot") -> bytes:
        return (self.runtime_dir / name / "env").read_bytes()

    def identity_of_file(self, name: str = "bot") -> tuple[int, int, str]:
        """Inode, ctime and place of the published file: what a rewrite would change."""
        status = (self.runtime_dir / name / "env").stat()
        return status.st_ino, status.st_ctime_ns, (self.runtime_dir / name).readlink().name


class Daemon:
    """One run of the conductor. Leaving the context is what kill -9 is: nothing is tidied on the way out."""

    def __init__(self, home: Home, *, ready: bool = True) -> None:
        self.home = home
        self.workers = ThreadWorkers()
        self.conductor = Conductor(home.config, load_checked(home.config))
        self.conductor._rounds.workers = self.workers
        self._ready = ready

    async def __aenter__(self) -> Self:
        self.conductor.open()
        self._running = asyncio.create_task(self.conductor.run())
        if self._ready:
            await self.until(lambda: all(s.ended for s in self.conductor.states.values()))
            self.conductor.bundles.be_ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running.cancel()
        await self.conductor.stop()
        results = await asyncio.gather(self._running, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError), results

    def state(self, name: str = "bot") -> BundleState:
        return self.conductor.states[name]

    def generation(self, name: str = "bot") -> int | None:
        record = self.state(name).record
        return record.generation if record else None

    def status(self, name: str = "bot") -> Any:
        bundles: Any = document(self.conductor, [name])["bundles"]
        return bundles[name]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for the conductor to announce that `condition` holds: to be true is not enough."""
        deadline = time.monotonic() + SOON_S
        await self.conductor.changes.until(condition, SOON_S)
        assert condition(), "this never came true"
        assert time.monotonic() < deadline, "this came true, and nobody was told"

    async def loaded(self, name: str = "bot", generation: int | None = None) -> None:
        def is_loaded() -> bool:
            state = self.state(name)
            wanted = generation or (state.record.generation if state.record else 1)
            return state.entry.loaded.get(UNIT, 0) >= wanted

        await self.until(is_loaded)
        await self.settled()  # the journal knows it, too

    async def refresh(self, *names: str) -> None:
        targets = self.conductor.request_refresh(names or ("bot",))
        await self.until(lambda: all(self.state(n).ended >= target for n, target in targets.items()))

    async def settled(self) -> None:
        """Deliveries that could begin have begun and ended."""
        while tasks := self.conductor.bundles.deliveries._tasks:
            _, pending = await asyncio.wait(set(tasks), timeout=SOON_S)
            assert not pending, "a delivery does not end"
            await asyncio.sleep(0)  # what ended may have begun the next one
