"""A daemon's alerts with a real command: what it hears, and what its failures do to nobody else."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from secretsd.errors import ExitCode, FailureClass
from secretsd.model import UnitReport
from secretsd.observe import alerts
from secretsd.observe.conditions import QUIET_S
from tests.control.asking import Served
from tests.observe.waiting import written
from tests.refresh.conftest import home, vault
from tests.refresh.daemon import SOON_S, UNIT, Home, a_bundle, live

__all__ = ["home", "vault"]

FIELDS = {
    *("schema", "event", "time", "host", "bundle", "unit", "generation", "class", "code", "message"),
    *("advice", "since", "trouble", "was", "suppressed"),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "_TICK_S", 0.05)
    monkeypatch.setattr(alerts, "_GATHER_S", 0.01)


class Told(Served):
    """A daemon with its control socket whose alert command notes every event in a file."""

    def __init__(self, home: Home, *bundles: str, body: str = "", keys: str = "alert_after = '0'") -> None:
        self.log = home.directory / "events"
        program = home.directory / "alert"
        program.write_text(f"#!/bin/sh\n{body or f'cat >>{self.log}'}\n")
        program.chmod(0o755)
        home.configure(*(bundles or (a_bundle(),)))
        text = home.config.read_text()
        home.config.write_text(
            text.replace("[daemon]", f"[daemon]\nalert_command = ['{program}', '--x']\n{keys}")
        )
        super().__init__(home, home.directory / "c")

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._alerting = asyncio.create_task(self.conductor.alerts.run())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._alerting.cancel()
        await asyncio.gather(self._alerting, return_exceptions=True)
        await super().__aexit__(*error)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    async def heard(self, *names: str) -> dict[str, Any]:
        """The last event, when these and no others have been heard, in this order."""
        deadline = time.monotonic() + SOON_S
        while [event["event"] for event in self.events()] != list(names):
            assert time.monotonic() < deadline, f"heard {self.events()}"
            await asyncio.sleep(0.02)
        return self.events()[-1]

    async def until_written(self, is_there: Callable[[str], bool]) -> None:
        book = self.home.state_dir / "alerts.json"
        deadline = time.monotonic() + SOON_S
        while not (book.exists() and is_there(book.read_text())):
            assert time.monotonic() < deadline, "it was never written"
            await asyncio.sleep(0.01)


def test_a_refusal_and_its_end_are_told_with_every_field(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Told(home) as daemon:
            await daemon.loaded()
            home.vault.fail("prod/bot", FailureClass.REFUSAL)
            await daemon.refresh()
            event = await daemon.heard("refused")
            assert event.keys() == FIELDS
            assert (event["bundle"], event["generation"], event["class"]) == ("bot", 1, "refusal")
            assert (event["code"], event["trouble"], event["unit"]) == ("fake-refusal", "bot/refresh", None)
            assert event["advice"]
            assert event["since"] <= event["time"]
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            end = await daemon.heard("refused", "recovered")
            assert end.keys() == FIELDS
            assert (end["was"], end["trouble"], end["generation"]) == ("refused", "bot/refresh", 2)
            assert end["message"].startswith("bot is refreshed again; it was refused: a fake failure")
        assert "fake-token" not in daemon.log.read_text()

    live(scenario())


def test_a_unit_that_has_not_loaded_and_files_that_were_altered_are_told(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper() as helper, Told(home) as daemon:
            helper.answers = [UnitReport("failed", "the job failed", "see journalctl")]
            event = await daemon.heard("not-loaded")
            assert (event["unit"], event["trouble"]) == (UNIT, f"bot/{UNIT}")
            assert "the job failed" in event["message"]
            helper.answers = [UnitReport("acted")]
            daemon.conductor.hurry_deliveries({"bot"})
            end = await daemon.heard("not-loaded", "recovered")
            assert end["unit"] == UNIT
            assert "bot.service has loaded generation 1 of bot" in end["message"]

            (home.runtime_dir / "bot" / "env").write_text("TOKEN=planted\n")
            await daemon.until(lambda: daemon.state().drift.count > 0)
            event = await daemon.heard("not-loaded", "recovered", "drift")
            assert "env" in event["message"]
            daemon.state().drift.last_at = time.time() - QUIET_S
            await daemon.heard("not-loaded", "recovered", "drift", "recovered")

    live(scenario())


def test_a_short_outage_wakes_nobody(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Told(home, keys="alert_after = '300ms'") as daemon:
            await daemon.loaded()
            home.vault.fail("prod/bot")
            await daemon.refresh()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            await asyncio.sleep(0.5)
            assert daemon.events() == []
            home.vault.fail("prod/bot")
            await daemon.refresh()
            event = await daemon.heard("stale")
            assert event["class"] == "transient"

    live(scenario())


def test_the_end_of_what_was_told_before_a_restart_is_told_after_it(home: Home) -> None:
    async def scenario() -> None:
        home.vault.fail("prod/bot", FailureClass.REFUSAL)
        async with home.helper(), Told(home) as daemon:
            await daemon.heard("refused")
            # One that dies between the two tells it twice: better than never.
            await daemon.until_written(lambda text: '"refused"' in text)
        async with home.helper(), Told(home) as daemon:
            await asyncio.sleep(0.3)
            await daemon.heard("refused")
        home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
        async with home.helper(), Told(home) as daemon:
            await daemon.heard("refused", "recovered")

    live(scenario())


def test_a_bundle_tells_its_own_command_and_one_that_is_gone_recovers(home: Home) -> None:
    async def scenario() -> None:
        own = home.directory / "own"
        own.write_text(f"#!/bin/sh\ncat >>{home.directory}/own-events\n")
        own.chmod(0o755)
        other = a_bundle("other", secret="prod/other", keys=f"alert_command = ['{own}']", more="")
        async with home.helper(), Told(home, a_bundle(), other) as daemon:
            await daemon.until(lambda: bool(daemon.state("other").failures))
            told = await written(home.directory / "own-events")
            assert json.loads(told)["bundle"] == "other"
            assert daemon.events() == []
            text = home.config.read_text()
            home.config.write_text(text[: text.index("[bundles.other]")])
            await daemon.conductor.reload_configuration()
            event = await daemon.heard("recovered")
            assert event["message"].startswith("other is no longer configured")

    live(scenario())


def test_a_command_that_hangs_or_fails_is_a_warning_and_delays_no_refresh(home: Home) -> None:
    async def scenario() -> None:
        home.vault.fail("prod/bot", FailureClass.REFUSAL)
        daemon = Told(home, body="exec sleep 300")
        daemon.conductor.alerts._timeout_s = 1.0
        async with home.helper(), daemon:
            began = time.monotonic()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            await daemon.loaded()
            assert time.monotonic() - began < 0.9, "while the command still hangs"
            await _warned(daemon, "was killed: it had not ended after 1 s")
        home.vault.fail("prod/bot", FailureClass.REFUSAL)
        async with home.helper(), Told(home, body="exit 7") as daemon:
            await daemon.refresh()
            await _warned(daemon, "ended with 7: try secretsctl alert-test")

    live(scenario())


async def _warned(daemon: Told, text: str) -> None:
    deadline = time.monotonic() + SOON_S
    while True:
        document: Any = (await daemon.ask("status")).body
        if any(text in warning for warning in document["daemon"]["warnings"]):
            return
        assert time.monotonic() < deadline, document["daemon"]["warnings"]
        await asyncio.sleep(0.05)


def test_a_daemon_that_stops_leaves_no_command_behind(home: Home, tmp_path: Path) -> None:
    async def scenario() -> None:
        home.vault.fail("prod/bot", FailureClass.REFUSAL)
        async with home.helper(), Told(home, body=f"echo $$ >{tmp_path}/pid; exec sleep 300"):
            pid = int(await written(tmp_path / "pid"))
        assert not Path(f"/proc/{pid}").exists()

    live(scenario())


def test_a_bug_in_the_alerts_stops_neither_them_nor_the_daemon(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(alerts, "_AFTER_BUG_S", 0.1)
        home.vault.fail("prod/bot", FailureClass.REFUSAL)
        daemon = Told(home)
        real, calls = alerts.situation, []

        def broken(*arguments: Any, **options: Any) -> Any:
            calls.append(1)
            if len(calls) == 1:
                raise ZeroDivisionError
            return real(*arguments, **options)

        monkeypatch.setattr(alerts, "situation", broken)
        async with home.helper(), daemon:
            await daemon.heard("refused")

    live(scenario())


def test_an_operator_can_try_the_command(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Told(home) as daemon:
            reply = await daemon.ask("alert-test", "bot")
            assert (reply.code, reply.message) == (
                ExitCode.OK,
                "the alert command was told of a test event, and ended well",
            )
            event = await daemon.heard("test")
            assert event.keys() == FIELDS
            assert event["bundle"] == "bot"
        async with home.helper(), Told(home, body="exit 9") as daemon:
            reply = await daemon.ask("alert-test")
            assert reply.code is ExitCode.IO
            assert "ended with 9" in reply.message
        home.configure(a_bundle())
        async with home.helper(), Served(home, home.directory / "c") as silent:
            assert (await silent.ask("alert-test", "bot")).code is ExitCode.CONFIG

    live(scenario())
