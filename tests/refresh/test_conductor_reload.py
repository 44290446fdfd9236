"""A new configuration under a running conductor."""

from __future__ import annotations

import asyncio
import os

import pytest

from secretsd.errors import ConfigError
from secretsd.refresh.files import published
from tests.refresh.daemon import TOLD, UNIT, Daemon, Home, a_bundle, live


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

    live(scenario())


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

    live(scenario())


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

    live(scenario())


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

    live(scenario())


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

    live(scenario())


def test_a_directory_that_changes_under_a_running_daemon_is_refused(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Daemon(home) as daemon:
            text = home.config.read_text().replace(str(home.runtime_dir), str(home.directory / "elsewhere"))
            home.config.write_text(text)
            with pytest.raises(ConfigError, match="restart secretsd"):
                await daemon.conductor.reload_configuration()
            assert not (home.directory / "elsewhere").exists()

    live(scenario())


def test_a_unit_that_the_configuration_adds_is_told_of_what_is_published(home: Home) -> None:
    home.configure(a_bundle(more=""))

    async def scenario() -> None:
        async with home.helper() as helper, Daemon(home) as daemon:
            home.configure(a_bundle(more=TOLD))
            await daemon.conductor.reload_configuration()
            await daemon.refresh()
            await daemon.loaded(generation=1)
            assert helper.told == [(UNIT, 1)]

    live(scenario())
