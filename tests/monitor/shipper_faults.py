"""The faults that the shipper must tell of, with real couriers and sockets, and a journald that can go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from secretsd.config.load import load
from secretsd.monitor.shipper import monitor_of
from secretsd.shipping.courier import Route
from secretsd.shipping.shipper import Shipper
from tests.monitor.asking import Page, ask, page_of
from tests.shipping.chains import Chain
from tests.shipping.test_journal import FakeJournald


class WatchedShipper:
    """A shipper to the journal in this process, and its metrics socket."""

    def __init__(self, home: Path, patch: pytest.MonkeyPatch) -> None:
        patch.setattr("secretsd.shipping.sinks.journal.Journal.look_every_s", 0.05)
        patch.setattr("secretsd.shipping.courier._FIRST_RETRY_S", 0.1)
        patch.setattr("secretsd.monitor.shipper_health.PATIENCE_S", 0)
        self.chain = Chain(home / "state" / "audit", "refresher")
        self.chain.add(3)
        self.journald: FakeJournald | None = FakeJournald(home / "journald")
        self.path = home / "metrics.sock"
        self.config = home / "secretsd.toml"
        self._journal = home / "journald"
        self.config.write_text(f"""\
[daemon]
runtime_dir = "{home}/run"
state_dir = "{home}/state"
[audit]
shipper_state_dir = "{home}/shipper"
shipper_metrics_socket = "{self.path}"
[audit.journal]
socket = "{self._journal}"
""")

    async def __aenter__(self) -> Self:
        config = load(self.config)
        self.shipper = Shipper(self.config, config)
        self.shipper.look()
        monitor = monitor_of(config.audit, self.shipper.report, lambda: self.shipper.refused)
        self._monitoring = asyncio.create_task(monitor.run())
        await self.until(self.path.exists)
        await self.until(self.is_done)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._monitoring.cancel()
        await asyncio.gather(self._monitoring, return_exceptions=True)
        await asyncio.to_thread(self.shipper.stop)
        self.let_journald(be=False)

    def let_journald(self, *, be: bool) -> None:
        if self.journald is not None:
            self.journald.close()
        self.journald = FakeJournald(self._journal) if be else None

    @property
    def route(self) -> Route:
        route: Route = self.shipper._fleet.couriers[0].routes[0]
        return route

    def is_done(self) -> bool:
        """All is with the journal."""
        if self.journald is not None:
            self.journald.read()  # or its socket is full
        (chain,) = self.sink()["chains"]
        return bool(chain["record"] == self.chain.head.seq and not chain["waiting_bytes"])

    def sink(self) -> dict[str, Any]:
        (found,) = self.shipper.report()["sinks"]
        return {**found}

    async def counted(self, loss: str) -> None:
        await self.until(lambda: self.sink()["chains"][0][loss] > 0)

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not is_so():  # noqa: ASYNC110 - another thread brings it about
                await asyncio.sleep(0.02)

    async def page(self) -> Page:
        status, text = await asyncio.to_thread(ask, self.path, "/metrics")
        assert status == 200, text
        return page_of(text)

    async def health(self) -> tuple[int, dict[str, Any]]:
        status, text = await asyncio.to_thread(ask, self.path, "/readyz?json")
        return status, json.loads(text)

    async def state(self, check: str) -> str:
        _, document = await self.health()
        states = [each["state"] for each in document["checks"] if each["check"] == check]
        return next((state for state in ("fail", "warn") if state in states), "ok")


Step = Callable[[WatchedShipper], Awaitable[None]]


async def journald_goes(watched: WatchedShipper) -> None:
    watched.let_journald(be=False)
    watched.chain.add(5)
    watched.route.anchor_due_s = 0.0
    await watched.until(lambda: watched.sink()["failure"] is not None)
    await watched.until(lambda: watched.route.waiting.records > 0)
    assert watched.route.unanchored_since_s is not None
    watched.route.unanchored_since_s -= 700


async def journald_comes(watched: WatchedShipper) -> None:
    watched.let_journald(be=True)
    await watched.until(watched.is_done)


async def records_are_removed(watched: WatchedShipper) -> None:
    watched.let_journald(be=False)
    watched.chain.add(5)
    watched.chain.rotate()
    watched.chain.add(5)
    watched.chain.rotate().unlink()
    watched.chain.add(5)
    await journald_comes(watched)
    await watched.counted("missing")


async def a_record_is_too_large(watched: WatchedShipper) -> None:
    watched.chain.add(1, f'"action":"sign","pad":"{"x" * 20_000_000}"')
    await watched.counted("refused")


async def a_record_is_altered(watched: WatchedShipper) -> None:
    watched.let_journald(be=False)
    size = watched.chain.path.stat().st_size
    watched.chain.add(5)
    data = watched.chain.path.read_bytes()
    watched.chain.path.write_bytes(data[:size] + data[size:].replace(b'"sign"', b'"hmac"', 1))
    await journald_comes(watched)
    await watched.counted("flaws")


async def a_reload_is_refused(watched: WatchedShipper) -> None:
    good = watched.config.read_text()
    watched.config.write_text(good + '[audit.s3]\nbucket = "Not A Bucket"\n')
    watched.shipper.reload()
    await watched.until(lambda: bool(watched.shipper.refused))
    watched.config.write_text(good)


async def a_reload_is_taken(watched: WatchedShipper) -> None:
    watched.shipper.reload()
    await watched.until(lambda: not watched.shipper.refused)


@dataclass(frozen=True)
class ShipperFault:
    """As Fault. What has no `end` stays until the shipper is started anew."""

    begin: Step
    end: Step | None
    check: str
    rules: tuple[str, ...]


SHIPPER_FAULTS = {
    "journald gone": ShipperFault(
        journald_goes,
        journald_comes,
        "sink journal",
        ("SecretsdShipperBehind", "SecretsdShipperAnchorsStopped"),
    ),
    "records removed": ShipperFault(records_are_removed, None, "sink journal", ("SecretsdShipperLost",)),
    "record too large": ShipperFault(a_record_is_too_large, None, "sink journal", ("SecretsdShipperLost",)),
    "record altered": ShipperFault(a_record_is_altered, None, "sink journal", ("SecretsdShipperFlaw",)),
    "reload refused": ShipperFault(
        a_reload_is_refused, a_reload_is_taken, "configuration", ("SecretsdConfigurationRefused",)
    ),
}
