"""What is removed of a trail is wherever it should be, and old enough; everything else stays.

The log, the couriers with their cursors and the pruner are the real ones; the sinks are fakes.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from secretsd.audit import archive, pruning
from secretsd.audit.archive import Walked
from secretsd.audit.log import AuditLog
from secretsd.audit.pruning import Pruner
from secretsd.audit.retention import TrailFile
from secretsd.config.audit import Audit
from secretsd.shipping import report
from secretsd.shipping.courier import ChainPlace, Courier
from tests.audit.test_log import append, committed
from tests.shipping.test_courier import FakeSink

WEEK_S = 7 * 86400.0
_SMALL = 1_000  # bytes of a file


class Host:
    """A signer's trail in small files, and a shipper with two sinks."""

    def __init__(self, home: Path) -> None:
        self.directory = home / "audit"
        self.state_dir = home / "shipper"
        self.state_dir.mkdir()
        self.sinks = {"journal": FakeSink(), "s3": FakeSink()}
        for name, sink in self.sinks.items():
            sink.name = name
        self.start_shipper()

    def start_shipper(self) -> None:
        place = [ChainPlace("signer", self.directory)]
        self.couriers = [Courier(sink, place, self.state_dir / "cursors") for sink in self.sinks.values()]

    async def start(self) -> None:
        self.log = AuditLog(self.directory, group=None, max_file_bytes=_SMALL)
        self.log.open()
        self.pruner = Pruner(self.directory, "signer", self.log.append, self.log.durable)

    async def write(self, files: int = 3, newer: int = 2) -> None:
        for _ in range(files):
            append(self.log, 6)
            assert await committed(self.log) is None
            await asyncio.sleep(0.02)  # a new file is begun behind the answer
        append(self.log, newer)
        assert await committed(self.log) is None

    def ship(self) -> None:
        for courier in self.couriers:
            courier.round()
        report.write(report.document(self.couriers, (), time.monotonic(), time.time()), self.state_dir)

    async def prune(self, after_s: float = WEEK_S, **rules: object) -> None:
        """As if it were so much later."""
        said = {"keep": "1d", "journal": {}, "s3": S3, "shipper_state_dir": str(self.state_dir), **rules}
        audit = Audit.model_validate({key: value for key, value in said.items() if value is not None})
        await self.pruner.look(audit, time.time() + after_s)

    @property
    def full(self) -> list[str]:
        return sorted(path.name for path in self.directory.glob("signer-*.jsonl"))

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.state_dir / "status.json").read_text())
        return document

    def records(self, action: str) -> list[dict[str, Any]]:
        with ExitStack() as stack:
            (pieces,) = archive.opened([self.directory], stack)  # one file may have two names for a moment
            lines = [line for piece in pieces for line in piece.path.read_bytes().splitlines()]
        return [each for each in map(json.loads, lines) if each.get("action") == action]

    def walked(self) -> Walked:
        with ExitStack() as stack:
            (pieces,) = archive.opened([self.directory], stack)
            return archive.walk(pieces)


S3 = {"bucket": "fake-trail", "kms_key": "arn:aws:kms:us-east-1:111122223333:key/k"}
Steps = Callable[[Host], Awaitable[None]]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    # How long a disk may take is another test's matter.
    monkeypatch.setattr("secretsd.audit.log.PATIENCE_S", 20.0)
    return Host(tmp_path)


def run(host: Host, steps: Steps) -> None:
    async def main() -> None:
        await host.start()
        await host.write()
        await steps(host)
        host.log.close()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert host.walked().flaw is None


async def committed_all(host: Host) -> None:
    assert await committed(host.log) is None


def test_what_every_sink_has_is_removed_when_it_is_old_and_each_removal_is_on_record(host: Host) -> None:
    async def steps(host: Host) -> None:
        before = host.full
        host.ship()
        await host.prune()
        assert host.pruner.problem == ""
        await committed_all(host)
        assert len(before) >= 3
        assert not set(before) & set(host.full)
        intents = [each for each in host.records("prune") if each["phase"] == "intent"]
        outcomes = [each for each in host.records("prune") if each["phase"] == "outcome"]
        assert [each["file"] for each in intents] == [each["file"] for each in outcomes] == before
        assert intents[0]["first"] == 1
        assert all(a["last"] + 1 == b["first"] for a, b in pairwise(intents))
        walked = host.walked()
        assert walked.follows.seq == intents[-1]["last"]
        assert walked.follows.hash.decode() == intents[-1]["head"]

    run(host, steps)


def test_nothing_is_removed_while_one_sink_is_out_for_a_week_and_all_when_it_is_back(host: Host) -> None:
    async def steps(host: Host) -> None:
        host.sinks["s3"].is_out = True
        before = host.full
        for _ in range(7):
            host.ship()
            await host.prune()
        assert set(before) <= set(host.full)
        assert before[0] in host.pruner.problem
        assert "s3" in host.pruner.problem
        assert host.records("prune") == []
        host.sinks["s3"].is_out = False
        host.ship()
        await host.prune()
        assert not set(before) & set(host.full)
        assert host.pruner.problem == ""

    run(host, steps)


def test_a_sink_that_has_half_of_a_file_keeps_that_file(host: Host) -> None:
    async def steps(host: Host) -> None:
        host.sinks["s3"].stops_after = 10
        host.ship()
        before = host.full
        await host.prune()
        assert before[0] not in host.full
        assert before[1] in host.full
        assert "s3" in host.pruner.problem

    run(host, steps)


@pytest.mark.parametrize("dies_at", ["before the removal", "behind it"])
def test_killed_around_a_removal_the_chain_is_whole_and_the_file_is_on_record(
    host: Host, dies_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By SIGKILL: nothing that only waits in memory is written any more."""
    real = pruning._unlink

    def unlink(directory: Path, file: TrailFile) -> None:
        if dies_at == "behind it":
            real(directory, file)
        os.kill(os.getpid(), signal.SIGKILL)

    async def dies(host: Host) -> None:
        host.ship()
        monkeypatch.setattr(pruning, "_unlink", unlink)
        await host.prune()

    async def lives(host: Host) -> None:
        before = host.full
        host.start_shipper()
        host.ship()
        await host.prune()
        assert host.pruner.problem == ""
        assert not set(before) & set(host.full)

    if (child := os.fork()) == 0:
        run(host, dies)
        os._exit(1)  # it was to be killed
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    said, first = host.records("prune"), "signer-00000000000000000001.jsonl"
    assert [(each["file"], each["phase"]) for each in said] == [(first, "intent")]
    assert (first in host.full) == (dies_at == "before the removal")
    assert host.walked().flaw is None
    run(host, lives)


@pytest.mark.parametrize("loss", ["lost", "damaged"])
def test_a_lost_cursor_removes_nothing_until_all_was_shipped_again(host: Host, loss: str) -> None:
    async def steps(host: Host) -> None:
        host.ship()
        cursor = host.state_dir / "cursors" / "s3-signer.json"
        cursor.unlink() if loss == "lost" else cursor.write_bytes(b'{"schema":1')
        host.sinks["s3"].is_out = True
        host.start_shipper()
        host.ship()
        before = host.full
        await host.prune()
        assert host.full == before
        assert "s3" in host.pruner.problem
        host.sinks["s3"].is_out = False
        host.ship()
        await host.prune()
        assert not set(before) & set(host.full)

    run(host, steps)


_JUNK = (
    "",
    "[]",
    "{",
    '{"sinks":[{"name":"s3"}]}',
    '{"sinks":[{"name":"s3","chains":[{"daemon":"signer"}]}]}',
)


@pytest.mark.parametrize("junk", _JUNK)
def test_a_report_that_does_not_read_removes_nothing(host: Host, junk: str) -> None:
    async def steps(host: Host) -> None:
        host.ship()
        before = host.full
        (host.state_dir / "status.json").write_text(junk)
        await host.prune()
        (host.state_dir / "status.json").unlink()
        await host.prune()
        os.mkfifo(host.state_dir / "status.json")
        await asyncio.wait_for(host.prune(), 5)
        assert host.full == before
        assert "not known" in host.pruner.problem

    run(host, steps)


_LIES: tuple[dict[str, object], ...] = (
    {"hash": "0" * 64},
    {"hash": ""},
    {"hash": "\ud800"},
    {"file": "0" * 32},
    *({"offset": offset} for offset in (10**9, 10**30, float("inf"), -1, "1", None, [])),
    {"since": float("inf")},
    {"since": 10**9},
)


@pytest.mark.parametrize("lie", _LIES)
def test_a_report_of_another_chain_removes_nothing(host: Host, lie: dict[str, object]) -> None:
    """The directory was emptied, and what the shipper says is of the chain before."""

    async def steps(host: Host) -> None:
        host.ship()
        said = host.status()
        for sink in said["sinks"]:
            sink["chains"][0].update(lie)
        (host.state_dir / "status.json").write_text(json.dumps(said))
        before = host.full
        await host.prune()
        assert host.full == before

    run(host, steps)


def test_a_gap_in_what_a_sink_has_is_never_covered_by_what_came_after_it(host: Host) -> None:
    """Somebody removed a file before it was shipped: what stood before it is not taken for shipped."""

    async def steps(host: Host) -> None:
        host.sinks["s3"].stops_after = 6
        host.ship()
        kept, gone = host.full[0], host.full[1]
        data = (host.directory / gone).read_bytes()
        (host.directory / gone).unlink()
        host.sinks["s3"].stops_after = 10**6
        host.ship()
        assert sum(courier.routes[0].counts.missing for courier in host.couriers) > 0
        await host.prune()
        assert kept in host.full
        (host.directory / gone).write_bytes(data)
        await host.prune()
        assert {kept, gone} <= set(host.full)

    run(host, steps)


def test_beside_an_altered_file_nothing_is_removed(host: Host) -> None:
    async def steps(host: Host) -> None:
        host.ship()
        path = host.directory / host.full[1]
        data = path.read_bytes()
        path.write_bytes(data[:-13] + b"0123456789" + data[-3:])
        before = host.full
        await host.prune()
        assert host.full == before
        assert "does not fit" in host.pruner.problem
        path.write_bytes(data)

    run(host, steps)


def test_what_is_younger_than_keep_or_within_keep_size_stays(host: Host) -> None:
    async def steps(host: Host) -> None:
        host.ship()
        before = host.full
        await host.prune(after_s=86400.0 - 60)
        await host.prune(keep_size="1M")
        await host.prune(keep=None)
        assert host.full == before
        assert host.pruner.problem == ""

    run(host, steps)


def test_what_is_shipped_nowhere_stays_unless_the_configuration_says_otherwise(host: Host) -> None:
    async def steps(host: Host) -> None:
        before = host.full
        await host.prune(keep=None, journal=None, s3=None)
        assert host.full == before
        await host.prune(journal=None, s3=None, remove_unshipped=True)
        assert not set(before) & set(host.full)
        assert (host.directory / "signer.jsonl").exists()

    run(host, steps)


def test_a_removal_that_cannot_be_put_on_record_is_not_done(host: Host) -> None:
    async def steps(host: Host) -> None:
        host.ship()
        before = host.full

        async def fails() -> None:
            raise OSError(28, "no space")

        host.pruner = Pruner(host.directory, "signer", host.log.append, fails)
        await host.prune()
        assert host.full[: len(before)] == before
        assert "cannot be removed" in host.pruner.problem

    run(host, steps)


def test_the_last_full_file_stays_quietly_while_nothing_is_newer(host: Host) -> None:
    async def steps(host: Host) -> None:
        await host.write(1, newer=0)
        host.ship()
        last = host.full[-1]
        await host.prune()
        assert (host.full[0], host.pruner.problem) == (last, "")

    run(host, steps)


def test_a_disk_that_is_nearly_full_is_told_and_removes_nothing_earlier(host: Host) -> None:
    async def steps(host: Host) -> None:
        host.ship()
        before = host.full
        await host.prune(after_s=0, max_file_size="99999G")
        assert host.full == before
        assert "MiB are free" in host.pruner.problem

    run(host, steps)


def test_a_reader_goes_on_where_a_file_is_removed_under_its_hands(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(host: Host) -> None:
        real = archive.paths
        calls = 0

        def paths(places: Any) -> list[Path]:
            nonlocal calls
            calls += 1
            found = real(places)
            if calls == 2:
                found[0].unlink()
            return found

        monkeypatch.setattr(archive, "paths", paths)
        assert host.walked().flaw is None
        monkeypatch.undo()

    run(host, steps)
