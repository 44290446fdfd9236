"""What is unusual reaches an alert command: of the refresher itself, and of a real signer beside it."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from secretsd.observe import alerts
from secretsd.signing.model import Peer
from secretsd.unusual import sentry
from secretsd.unusual.findings import Finding
from tests.observe.test_alerts import FIELDS, Told
from tests.refresh.conftest import home, vault
from tests.refresh.daemon import UNIT, Home, a_bundle, live
from tests.signing.daemon import Daemon as SigningDaemon
from tests.signing.http.serving import Client

__all__ = ["home", "vault"]

TELL_ALL = "\n[unusual]\nlearning = '0s'\n"
STRANGER = Peer(pid=1, uid=4711, gids=frozenset(), unit=None, start_ticks=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "_TICK_S", 0.05)
    monkeypatch.setattr(alerts, "_GATHER_S", 0.01)
    monkeypatch.setattr(sentry, "_JUDGE_S", 0.05)


def records(home: Home) -> list[dict[str, object]]:
    lines = (home.state_dir / "audit/refresher.jsonl").read_text().splitlines()[1:]
    return [each for line in lines if (each := json.loads(line))["action"] == "unusual"]


def test_a_unit_that_loads_a_secret_for_the_first_time_is_told_once(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Told(home, a_bundle() + TELL_ALL) as daemon:
            await daemon.loaded()
            event = await daemon.heard("unusual")
            assert event.keys() == FIELDS
            assert (
                event["message"] == f"secretsd: {UNIT} has used the secret prod/bot of aws for the first time"
            )
            assert (event["code"], event["bundle"], event["trouble"]) == ("new-actor", None, None)
            assert event["since"] <= event["time"]
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            await daemon.refresh()
            await asyncio.sleep(0.5)
            await daemon.heard("unusual")
            daemon.conductor.trail.ledger.close()
        told = [each for each in records(home) if each["reason"] == "new-actor"]
        assert [(each["secrets"], each["who"], each["count"]) for each in told] == [
            ([{"source": "aws", "secret": "prod/bot"}], UNIT, 1)
        ]

    live(scenario())


def test_who_asks_for_what_is_not_theirs_is_told_and_who_orders_for_the_first_time(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Told(home, a_bundle() + TELL_ALL) as daemon:
            await daemon.heard("unusual")
            for number in range(20):
                daemon.server._recording.refused("hold", f"bundle-{number}", STRANGER)
            event = await daemon.heard("unusual", "unusual")
            assert event["code"] == "several"
            assert "uid 4711 was refused 20 times in a row" in event["message"]
            assert "uid 4711 has asked for 5 names within 10 minutes" in event["message"]
            await daemon.ask("hold", "bot")
            event = await daemon.heard("unusual", "unusual", "unusual")
            assert event["message"].endswith("has used the bundle bot for the first time")

    live(scenario())


def test_a_burst_is_one_message_and_the_limit_holds(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Told(home, keys="alert_limit = 4") as daemon:
            await daemon.loaded()
            found = Finding("refusals", "uid 1", 20)
            for burst in range(5):
                for _ in range(200):
                    daemon.conductor.alerts.report(found, "secretsd-signer", 17.0)
                await asyncio.sleep(0.2)
                assert len(daemon.events()) <= 2, burst
            first, second = daemon.events()
            assert first["message"].endswith("; 45 more")
            assert (first["suppressed"], second["suppressed"]) == (150, 150)
            await daemon.until_written(
                lambda text: '"reports": [{' in text.replace("\n", "").replace("  ", "")
            )

    live(scenario())


def test_what_waits_for_its_turn_is_told_after_a_restart(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper():
            async with Told(home, body="exit 1") as daemon:
                daemon.conductor.alerts.report(Finding("probe", "uid 1", 5, window_s=600), "secretsd", 17.0)
                await daemon.until_written(lambda text: "uid 1 has asked" in text)
            async with Told(home) as daemon:
                event = await daemon.heard("unusual")
                assert event["code"] == "probe"

    live(scenario())


def test_nobody_waits_where_there_is_no_alert_command(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Told(home) as daemon:
            text = home.config.read_text()
            home.config.write_text(text.replace("alert_command", "# alert_command"))
            await daemon.conductor.reload_configuration()
            daemon.conductor.alerts.report(Finding("refusals", "uid 1", 20), "secretsd", 17.0)
            assert not daemon.conductor.alerts._memory.reports

    live(scenario())


def test_a_signer_that_finds_something_while_the_refresher_is_away_is_heard_when_it_is_back(
    home: Home, tmp_path: Path
) -> None:
    directory = tmp_path / "signer"
    directory.mkdir()
    signer = SigningDaemon(directory, {"orders": {"type": "hmac", "operations": ["hmac"]}})
    with signer.config.open("a") as config:
        config.write(f'[daemon]\nruntime_dir = "{home.runtime_dir}"\nstate_dir = "{home.state_dir}"\n')

    async def scenario() -> None:
        await asyncio.to_thread(_refused, signer)
        found_by = datetime.now(UTC)
        async with home.helper(), Told(home) as daemon:
            event = await daemon.heard("unusual")
            assert event["message"].startswith("secretsd-signer: ")
            assert "was refused 30 times in a row" in event["message"]
            assert datetime.fromisoformat(event["since"]) <= found_by, "when it was found, not when it came"

    with signer:
        live(scenario())


def _refused(signer: SigningDaemon) -> None:
    """Until the signer has found it."""
    for _ in range(30):
        Client(signer.http).ask("POST", "/v1/transit/hmac/no-such-key", {"input": "ZmFrZQ=="})
    until_s = time.monotonic() + 5
    while "unusual access" not in signer.log():
        assert time.monotonic() < until_s, signer.log()
        time.sleep(0.05)
