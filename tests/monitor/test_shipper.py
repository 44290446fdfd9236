"""The shipper before monitors: every fault shows and fires its alert, and none makes the host "not ready"."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.control.asking import NOBODY, needs_root
from tests.monitor.promtool import fire
from tests.monitor.shipper_faults import SHIPPER_FAULTS, WatchedShipper
from tests.monitor.test_server import AS_ANOTHER

JOB = "secretsd-shipper"


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WatchedShipper:
    return WatchedShipper(tmp_path, monkeypatch)


@pytest.mark.parametrize("name", SHIPPER_FAULTS)
def test_a_fault_degrades_fires_its_rules_and_is_over_when_it_is_over(
    watched: WatchedShipper, name: str, tmp_path: Path
) -> None:
    fault = SHIPPER_FAULTS[name]

    async def scenario() -> None:
        async with watched:
            assert (await watched.health())[1]["state"] == "ready"
            before = await watched.page()
            await fault.begin(watched)
            status, document = await watched.health()
            assert (status, document["state"]) == (200, "degraded")
            assert await watched.state(fault.check) == "warn"
            assert all(each["fix"] for each in document["checks"] if each["state"] != "ok")
            after = await watched.page()
            assert after["secretsd_ready{}"] == 1
            await asyncio.to_thread(fire, tmp_path, fault.rules, before, after, JOB)
            if fault.end is not None:
                await fault.end(watched)
                assert (await watched.health())[1]["state"] == "ready"

    asyncio.run(scenario())


def test_a_shipper_that_is_stopped_is_told_and_pages_nobody(tmp_path: Path) -> None:
    up, down = {"up{}": 1.0}, {"up{}": 0.0}
    fire(tmp_path, ["SecretsdShipperDown"], up, down, JOB)
    with pytest.raises(AssertionError, match="FAILED"):
        fire(tmp_path, ["SecretsdDown"], up, down, JOB)


def test_lag_is_counted_in_records_bytes_and_seconds(watched: WatchedShipper) -> None:
    async def scenario() -> None:
        async with watched:
            label = '{chain="refresher",sink="journal"}'
            page = await watched.page()
            assert page[f"secretsd_shipper_lag_records{label}"] == 0
            assert page[f"secretsd_shipper_lag_seconds{label}"] == 0
            assert page[f"secretsd_shipper_records_total{label}"] == 3
            size = watched.chain.path.stat().st_size
            assert page['secretsd_shipper_trail_bytes{chain="refresher"}'] == size
            await SHIPPER_FAULTS["journald gone"].begin(watched)
            page = await watched.page()
            assert page[f"secretsd_shipper_lag_records{label}"] == 5
            assert page[f"secretsd_shipper_lag_seconds{label}"] > 3600  # the records are of March
            waiting = watched.chain.path.stat().st_size - size
            assert page[f"secretsd_shipper_waiting_bytes{label}"] == waiting
            assert page['secretsd_shipper_failing{code="journal-unreachable",sink="journal"}'] == 1

    asyncio.run(scenario())


@needs_root
def test_another_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(watched: WatchedShipper) -> None:
        async with watched:
            command = [sys.executable, "-I", "-c", AS_ANOTHER, str(watched.path), str(NOBODY), ""]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
            assert done.stdout.startswith(b"HTTP/1.1 403 "), done
            assert f"uid {NOBODY} may not read this".encode() in done.stdout
            assert b"secretsd_shipper" not in done.stdout

    with tempfile.TemporaryDirectory() as place:  # pytest's own are closed to others
        os.chmod(place, 0o755)
        asyncio.run(scenario(WatchedShipper(Path(place), monkeypatch)))
