"""The faults that a refresher must tell of: how each is made and ended, and what is then said of it."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from secretsd.config.audit import Audit
from secretsd.control import report
from secretsd.errors import ConfigError, FailureClass
from secretsd.logs import NonBlockingHandler
from secretsd.model import EndpointSeen, UnitReport
from secretsd.refresh.messages import SourceAsked
from secretsd.refresh.push.state import PushState
from secretsd.refresh.source_book.regions import RegionInUse
from tests.monitor.asking import Watched
from tests.refresh.daemon import UNIT, a_bundle
from tests.refresh.fakes import FakeHelper

Step = Callable[["Stage"], Awaitable[None]]
HOME, AWAY = "secretsmanager us-east-1", "secretsmanager eu-west-1"
REGIONS = 'region = "us-east-1"\nfailover_regions = ["eu-west-1"]\n'


@dataclass
class Stage:
    """Where a fault happens."""

    daemon: Watched
    helper: FakeHelper
    patch: pytest.MonkeyPatch

    async def hear(self, *seen: EndpointSeen, skew_s: float | None = None) -> None:
        """A worker says how its endpoints did."""
        conductor = self.daemon.conductor
        conductor.bundles.sources.heard(
            conductor.config, SourceAsked("aws", {"GetSecretValue": 1}, seen, skew_s)
        )

    async def rotate(self) -> None:
        self.daemon.home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
        await self.daemon.refresh()


@dataclass(frozen=True)
class Fault:
    """`check` of /readyz says it with `word`; `rules` are the alerts that then fire."""

    begin: Step
    end: Step
    check: str
    word: str
    rules: tuple[str, ...]
    bundle: str = a_bundle()
    daemon: str = ""  # more lines of [daemon]
    source: str = REGIONS


def fetch_fails(kind: FailureClass) -> Step:
    async def begin(stage: Stage) -> None:
        stage.daemon.home.vault.fail("prod/bot", kind)
        await stage.daemon.refresh()

    return begin


async def fetch_is_well(stage: Stage) -> None:
    await stage.rotate()
    await stage.daemon.loaded()


async def data_is_bad(stage: Stage) -> None:
    stage.daemon.home.vault.put("prod/bot", b"no JSON at all")
    await stage.daemon.refresh()


async def somebody_alters(stage: Stage) -> None:
    await asyncio.sleep(0.012)  # ctime is as coarse as the kernel's tick
    (stage.daemon.home.runtime_dir / "bot" / "env").write_bytes(b"TOKEN='fake-evil-1'\n")
    stage.daemon.conductor.look()
    await stage.daemon.until(lambda: stage.daemon.state().drift.count > 0)
    await stage.daemon.until(lambda: not stage.daemon.state().drift.is_open)


async def a_minute_passes(stage: Stage) -> None:
    drift = stage.daemon.state().drift
    assert drift.last_at is not None
    drift.last_at -= 60


async def unit_fails(stage: Stage) -> None:
    stage.helper.answers = [UnitReport("failed", f"{UNIT} did not reload", f"journalctl -u {UNIT}")]
    await stage.rotate()
    await stage.daemon.until(lambda: stage.daemon.state().delivery(UNIT).failed_attempts > 0)


async def unit_loads(stage: Stage) -> None:
    stage.helper.answers = [UnitReport("acted")]
    stage.daemon.conductor.hurry_deliveries(["bot"])
    await stage.daemon.loaded()


async def unit_hangs(stage: Stage) -> None:
    stage.patch.setattr("secretsd.monitor.refresher_health.UNDER_WAY_S", 0.0)
    stage.helper.gate.clear()
    await stage.rotate()


async def unit_answers(stage: Stage) -> None:
    stage.helper.gate.set()
    await stage.daemon.loaded()


async def source_is_silent(stage: Stage) -> None:
    del stage
    await asyncio.sleep(1.1)


async def region_is_away(stage: Stage) -> None:
    await stage.hear(EndpointSeen(HOME, "fails", "server-error"), EndpointSeen(AWAY, "answers"))


async def region_is_back(stage: Stage) -> None:
    book = stage.daemon.conductor.bundles.sources
    book.state("aws").use = RegionInUse()
    await stage.hear(EndpointSeen(HOME, "answers"))


async def endpoint_fails(stage: Stage) -> None:
    await stage.hear(EndpointSeen(HOME, "fails", "unreachable"))


async def endpoint_answers(stage: Stage) -> None:
    await stage.hear(EndpointSeen(HOME, "answers"))


async def clock_is_off(stage: Stage) -> None:
    await stage.hear(skew_s=-120.0)


async def clock_is_set(stage: Stage) -> None:
    await stage.hear(skew_s=0.5)


async def push_is_silent(stage: Stage) -> None:
    state = stage.daemon.conductor.pushes.states.setdefault("aws", PushState(1800.0))
    state.become(is_healthy=False, now=time.monotonic(), wall=time.time())


async def push_answers(stage: Stage) -> None:
    state = stage.daemon.conductor.pushes.states["aws"]
    state.last_message_at = time.time()
    state.become(is_healthy=True, now=time.monotonic(), wall=time.time())


async def seal_key_is_missing(stage: Stage) -> None:
    key = stage.daemon.home.key
    key.rename(key.with_suffix(".away"))
    await stage.rotate()


async def seal_key_is_back(stage: Stage) -> None:
    key = stage.daemon.home.key
    key.with_suffix(".away").rename(key)
    stage.daemon.home.vault.put("prod/bot", {"TOKEN": "fake-token-3"})
    await stage.daemon.refresh()


async def reload_is_refused(stage: Stage) -> None:
    text = stage.daemon.home.config.read_text()
    stage.daemon.home.config.write_text("[deamon]\n")
    with pytest.raises(ConfigError):
        await stage.daemon.conductor.reload_configuration()
    stage.daemon.home.config.write_text(text)


async def reload_is_good(stage: Stage) -> None:
    await stage.daemon.conductor.reload_configuration()


async def worker_dies(stage: Stage) -> None:
    stage.daemon.workers.lost_before = "prepared"
    await stage.rotate()


async def worker_lives(stage: Stage) -> None:
    stage.daemon.workers.lost_before = None
    await stage.daemon.refresh()
    await stage.daemon.loaded()


async def nobody_hears_alerts(stage: Stage) -> None:
    alerts = stage.daemon.conductor.alerts
    telling = asyncio.create_task(alerts.run())
    stage.daemon.home.vault.fail("prod/bot", FailureClass.REFUSAL)
    await stage.daemon.refresh()
    while not alerts.counts["failed"]:  # noqa: ASYNC110 - a counter tells nobody
        await asyncio.sleep(0.01)
    telling.cancel()


async def alerts_are_heard(stage: Stage) -> None:
    config = stage.daemon.home.config
    config.write_text(config.read_text().replace("/bin/false", "/bin/true"))
    await stage.daemon.conductor.reload_configuration()
    assert await stage.daemon.conductor.alerts.test(None) == ""


async def state_dir_is_gone(stage: Stage) -> None:
    shutil.rmtree(stage.daemon.home.state_dir)
    stage.daemon.home.state_dir.write_text("a file")
    await stage.rotate()
    await stage.daemon.settled()


async def state_dir_is_back(stage: Stage) -> None:
    stage.daemon.home.state_dir.unlink()
    stage.daemon.home.state_dir.mkdir()
    await stage.daemon.conductor.bundles.notebook.write()


async def audit_is_not_written(stage: Stage) -> None:
    audit = stage.daemon.home.state_dir / "audit"
    audit.rename(audit.with_suffix(".away"))
    audit.write_text("a file")
    await stage.rotate()
    ledger = stage.daemon.conductor.trail.ledger
    while not ledger.problem:
        ledger.look()
        await asyncio.sleep(0.05)


async def audit_is_written(stage: Stage) -> None:
    audit = stage.daemon.home.state_dir / "audit"
    audit.unlink()
    audit.with_suffix(".away").rename(audit)
    stage.daemon.conductor.trail.ledger.look()


async def signer_is_not_heard(stage: Stage) -> None:
    stage.daemon.conductor.guard._mailbox.close()
    (stage.daemon.home.state_dir / "signer.sock").mkdir()
    stage.daemon.conductor.guard.listen()


async def signer_is_heard(stage: Stage) -> None:
    (stage.daemon.home.state_dir / "signer.sock").rmdir()
    stage.daemon.conductor.guard.listen()


async def a_full_file_stays(stage: Stage) -> None:
    """There is a sink, and nothing has ever been shipped."""
    ledger = stage.daemon.conductor.trail.ledger
    ledger.resize(100)
    await stage.rotate()
    await ledger.durable()
    directory = stage.daemon.home.state_dir / "audit"
    while not list(directory.glob("refresher-*.jsonl")):  # noqa: ASYNC110 - a file tells nobody
        await asyncio.sleep(0.01)
    rules = {"keep": "1d", "journal": {}, "shipper_state_dir": str(stage.daemon.home.state_dir / "shipper")}
    in_a_week = time.time() + 7 * 86400
    await stage.daemon.conductor.pruner.look(Audit.model_validate(rules), in_a_week)
    warnings = report.document(stage.daemon.conductor, ())["daemon"]["warnings"]  # type: ignore[index]
    assert any("old enough" in each and "not known what journal has" in each for each in warnings)


async def no_file_is_to_go(stage: Stage) -> None:
    await stage.daemon.conductor.pruner.look(Audit(), time.time())


async def journald_is_stopped(stage: Stage) -> None:
    del stage
    read, write = os.pipe()
    os.set_blocking(write, False)
    handler = NonBlockingHandler(write, for_journal=False)
    logging.root.addHandler(handler)
    os.close(read)  # nobody reads: EPIPE
    logging.getLogger("secretsd").error("into nowhere")
    os.close(write)


async def journald_is_back(stage: Stage) -> None:
    del stage
    for handler in logging.root.handlers:
        if isinstance(handler, NonBlockingHandler):
            handler.dropped_at -= 60


_DEGRADED, _NOT_READY = "degraded", "not ready"
FAULTS: dict[str, Fault] = {
    "source out": Fault(
        fetch_fails(FailureClass.TRANSIENT), fetch_is_well, "bundle bot", _DEGRADED, ("SecretsdSourceDown",)
    ),
    "identity broken": Fault(
        fetch_fails(FailureClass.IDENTITY), fetch_is_well, "bundle bot", _DEGRADED, ("SecretsdRefused",)
    ),
    "refused": Fault(
        fetch_fails(FailureClass.REFUSAL), fetch_is_well, "bundle bot", _DEGRADED, ("SecretsdRefused",)
    ),
    "bad data": Fault(data_is_bad, fetch_is_well, "bundle bot", _DEGRADED, ("SecretsdRefused",)),
    "host cannot write": Fault(
        fetch_fails(FailureClass.IO), fetch_is_well, "bundle bot", _DEGRADED, ("SecretsdHostFailing",)
    ),
    "withdrawn": Fault(
        fetch_fails(FailureClass.REFUSAL), fetch_is_well, "bundle bot", _NOT_READY,
        ("SecretsdBundleMissing", "SecretsdNotReady", "SecretsdRefused"),
        bundle=a_bundle(keys='on_refusal = "withdraw"'),
    ),
    "files altered": Fault(
        somebody_alters, a_minute_passes, "bundle bot", _DEGRADED, ("SecretsdFilesAltered",)
    ),
    "unit fails": Fault(
        unit_fails, unit_loads, f"unit {UNIT}", _NOT_READY, ("SecretsdUnitNotLoaded", "SecretsdNotReady")
    ),
    "unit hangs": Fault(unit_hangs, unit_answers, f"unit {UNIT}", _NOT_READY, ("SecretsdUnitLate",)),
    "too old": Fault(
        source_is_silent, fetch_is_well, "bundle bot", _NOT_READY,
        ("SecretsdBundleAging", "SecretsdNotReady"),
        bundle=a_bundle(keys='max_age = "1s"'),
    ),
    "another region": Fault(
        region_is_away, region_is_back, "source aws", _DEGRADED, ("SecretsdOtherRegion",)
    ),
    "endpoint silent": Fault(endpoint_fails, endpoint_answers, "source aws", _DEGRADED, ()),
    "clock off": Fault(clock_is_off, clock_is_set, "clock aws", _DEGRADED, ("SecretsdClockSkew",)),
    "push silent": Fault(push_is_silent, push_answers, "push aws", _DEGRADED, ("SecretsdPushSilent",)),
    "seal key missing": Fault(
        seal_key_is_missing, seal_key_is_back, "sealed copy of bot", _DEGRADED,
        ("SecretsdSealedCopyFailing",),
        bundle=a_bundle(keys="sealed_copy = {}"),
    ),
    "reload refused": Fault(
        reload_is_refused, reload_is_good, "configuration", _DEGRADED, ("SecretsdConfigurationRefused",)
    ),
    "worker lost": Fault(
        worker_dies, worker_lives, "bundle bot", _DEGRADED, ("SecretsdWorkersLost", "SecretsdHostFailing")
    ),
    "alert command fails": Fault(
        nobody_hears_alerts, alerts_are_heard, "alerts", _DEGRADED, ("SecretsdAlertsUntold",),
        daemon='alert_command = ["/bin/false"]',
    ),
    "state directory gone": Fault(
        state_dir_is_gone, state_dir_is_back, "journal", _DEGRADED, ("SecretsdHostFailing",)
    ),
    "audit log not written": Fault(
        audit_is_not_written, audit_is_written, "audit log", _DEGRADED, ("SecretsdAuditDown",)
    ),
    "signer not heard": Fault(signer_is_not_heard, signer_is_heard, "unusual access", _DEGRADED, ()),
    "full file of the trail stays": Fault(
        a_full_file_stays, no_file_is_to_go, "audit files", _DEGRADED, ()
    ),
    "journald stopped": Fault(
        journald_is_stopped, journald_is_back, "log", _DEGRADED, ("SecretsdLogLost",)
    ),
}  # fmt: skip
