"""A configuration that is read anew: a bad one changes nothing, and a good one loses no record on the way."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secretsd.config.models import Config
from secretsd.shipping.fleet import Fleet
from secretsd.shipping.pieces import Piece
from secretsd.shipping.sinks.interface import Sent
from secretsd.shipping.sinks.registry import SinkTable
from tests.lab.daemons import DaemonProcess
from tests.monitor.asking import ask
from tests.shipping.chains import Chain
from tests.shipping.host import Host
from tests.shipping.strict_s3 import StrictS3
from tests.shipping.test_courier import FakeSink, numbers
from tests.shipping.test_process import host, restore

__all__ = ["host"]


def eventually(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def health(host: Host) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(ask(host.home / "metrics.sock", "/readyz?json")[1])
    return document


def started(host: Host) -> DaemonProcess:
    process = host.start()
    eventually((host.home / "metrics.sock").exists)
    host.wait_until_shipped()
    return process


def test_a_bad_bucket_name_keeps_the_running_configuration_and_is_told(host: Host) -> None:
    host.chain.add(10)
    process = started(host)
    good = host.config.read_text()
    host.config.write_text(good.replace('bucket = "fake-audit-trail"', 'bucket = "Not A Bucket"'))
    process.send_signal(signal.SIGHUP)
    eventually(lambda: health(host)["state"] == "degraded")
    (check,) = [each for each in health(host)["checks"] if each["check"] == "configuration"]
    assert "bucket" in check["detail"]
    assert "check-config" in check["fix"]
    host.chain.add(10)
    host.wait_until_shipped()
    host.config.write_text(good)
    process.send_signal(signal.SIGHUP)
    eventually(lambda: health(host)["state"] == "ready")
    process.terminate()
    assert process.wait(timeout=20) == 0
    assert "the configuration stays as it was" in host.log.read_text()


def test_reloads_under_load_lose_nothing_and_put_nothing_twice(
    host: Host, strict: StrictS3, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sink to S3 is replaced each time, the one to the journal never."""
    process = started(host)
    text = host.config.read_text()
    for number in range(6):
        host.config.write_text(text.replace('batch_age = "1s"', f'batch_age = "{2 + number % 2}s"'))
        process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 0.7
        while time.monotonic() < end:
            host.chain.add(20)
            time.sleep(0.02)
    host.wait_until_shipped()
    eventually(lambda: len(host.entries) >= host.chain.head.seq)
    sequence = [int(entry["SECRETSD_SEQ"]) for entry in host.entries if "SECRETSD_SEQ" in entry]
    assert sequence == list(range(1, host.chain.head.seq + 1))
    code, document = restore(strict, tmp_path / "restored", capsys)
    (chain,) = document["chains"]
    assert (code, chain["is_whole"], chain["records"]) == (0, True, host.chain.head.seq)
    assert chain["findings"] == []


def test_metrics_move_with_the_configuration(host: Host) -> None:
    process = started(host)
    before, after = host.home / "metrics.sock", host.home / "moved.sock"
    host.config.write_text(host.config.read_text().replace(str(before), str(after)))
    process.send_signal(signal.SIGHUP)
    eventually(lambda: after.exists() and not before.exists())
    assert ask(after, "/healthz")[0] == 200


def test_without_a_sink_left_it_ends_well(host: Host) -> None:
    process = started(host)
    host.config.write_text(host.config.read_text().partition("[audit.journal]")[0])
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=20) == 0
    assert "nothing to do" in host.log.read_text()


class Slow(FakeSink):
    """Hangs in each call for as long as its gate is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.is_in = threading.Event()

    def send(self, daemon: str, piece: Piece, receipt: str) -> Sent:
        self.is_in.set()
        self.gate.wait(20)
        return super().send(daemon, piece, receipt)


def config_of(home: Path, socket: str) -> Config:
    return Config.model_validate(
        {"daemon": {"state_dir": str(home / "state")}, "audit": {"journal": {"socket": socket}}}
    )


def test_a_courier_that_is_in_a_call_keeps_its_cursor_until_it_has_ended(tmp_path: Path) -> None:
    """Two at one cursor would set it back, or leave out what the other has only begun to send."""
    chain = Chain(tmp_path / "state" / "audit", "refresher")
    chain.add(5)
    made: list[Slow] = []

    def make(table: SinkTable) -> Slow:
        del table
        made.append(Slow())
        return made[-1]

    fleet = Fleet(tmp_path / "shipper", make)
    fleet.send(config_of(tmp_path, "/run/one"))
    fleet.look()
    assert made[0].is_in.wait(10)
    fleet.send(config_of(tmp_path, "/run/two"))
    for _ in range(3):
        fleet.look()
    assert len(made) == 1
    assert fleet.couriers == []
    chain.add(5)
    made[0].gate.set()

    def has_another() -> bool:
        fleet.look()
        return len(made) == 2

    eventually(has_another)
    made[1].gate.set()
    eventually(lambda: numbers(made[0]) + numbers(made[1]) == list(range(1, 11)))
    fleet.send(config_of(tmp_path, "/run/two"))
    fleet.look()
    assert len(made) == 2, "the same errand, the same courier"
    fleet.stop(5)
