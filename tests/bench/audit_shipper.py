"""What may happen to the shipper: nothing is lost, whatever it could do meanwhile.

    python -m tests.bench.audit_shipper

The real process with moto as S3 behind a proxy that is as strict as AWS, and a journald of the test's own.
For an hour without either, on a machine with systemd: audit_outage. Needs root and strace.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from secretsd.cli.main import run as secretsctl
from tests.audit.disk import full, small_disk
from tests.bench import injection
from tests.bench.figures import Figure, grid, table
from tests.lab.aws import FAKE_CREDENTIALS, REGION, FakeAws
from tests.lab.tracing import traced
from tests.shipping.conftest import BUCKET
from tests.shipping.host import Host, a_host
from tests.shipping.strict_s3 import StrictS3

_WRITTEN, _BEFORE = 200, 50  # records, in the fault and before it
FAULT_S = 12.0  # S3 is looked after each 5 s, and has a batch one look after it was seen
_DELAY_US = 500_000

Fault = Callable[[Host, StrictS3], AbstractContextManager[None]]


@contextlib.contextmanager
def _out(host: Host, s3: StrictS3) -> Iterator[None]:
    del host
    s3.is_out.set()
    yield
    s3.is_out.clear()


@contextlib.contextmanager
def _answers_lost(host: Host, s3: StrictS3) -> Iterator[None]:
    del host
    s3.loses_answers.set()
    yield
    s3.loses_answers.clear()


@contextlib.contextmanager
def _disk_full(host: Host, s3: StrictS3) -> Iterator[None]:
    del s3
    with full(host.state_dir):
        yield


@contextlib.contextmanager
def _disk_slow(host: Host, s3: StrictS3) -> Iterator[None]:
    del s3
    calls = "fsync,fdatasync,write"
    with traced(host.pid, "-e", f"trace={calls}", "-e", f"inject={calls}:delay_enter={_DELAY_US}"):
        yield


@contextlib.contextmanager
def _put_back(host: Host, s3: StrictS3) -> Iterator[None]:
    del s3
    host.chain.put_back()
    yield


DISK_FULL = "the disk of its cursors is full"
FAULTS: dict[str, Fault] = {
    "S3 answers 503": _out,
    "S3 takes it, its answers are lost": _answers_lost,
    DISK_FULL: _disk_full,
    "each of its writes and syncs 0.5 s late": _disk_slow,
    "a trail's file removed, and put back by its daemon": _put_back,
}


@dataclass(frozen=True, slots=True)
class Row:
    """What became of a trail in one fault; `*_shipped` are records that were on their way by its end."""

    fault: str
    written: int
    s3_shipped: int
    journal_shipped: int
    back_s: float
    missing: int
    twice: int
    is_whole: bool

    def cells(self) -> tuple[str, ...]:
        """The columns of `HEADINGS`."""
        counts = (self.written, self.s3_shipped, self.journal_shipped)
        whole = "yes" if self.is_whole else "NO"
        return (
            self.fault,
            *map(str, counts),
            f"{self.back_s:.1f} s",
            str(self.missing),
            str(self.twice),
            whole,
        )


HEADINGS = (
    *("fault", "records written in it", "noted for S3 by its end", "for the journal", "all noted after"),
    *("missing in the journal", "there twice", "from S3: whole, and the host's bytes"),
)


def measure() -> list[Figure]:
    """All faults."""
    if (reason := injection.missing()) is not None:
        print(reason)
        return []
    rows = run(FAULTS, FAULT_S)
    print(grid(HEADINGS, [row.cells() for row in rows]), "", sep="\n")
    return figures(rows)


def run(names: Iterable[str], fault_s: float) -> list[Row]:
    """One fault after the other, each of a new host, and each of so many seconds."""
    with FakeAws.local() as aws:
        return [_one(name, aws, fault_s) for name in names]


def figures(rows: list[Row]) -> list[Figure]:
    """What must be so."""
    missing = sum(row.missing for row in rows)
    whole = sum(row.is_whole for row in rows)
    return [
        Figure(
            f"{len(rows)} faults of the shipper: records missing in the journal", missing, "", 0, exactly=True
        ),
        Figure("trails that are whole, from S3 alone", whole, "", len(rows), exactly=True),
    ]


def _one(name: str, aws: FakeAws, fault_s: float) -> Row:
    with (
        mock.patch.dict("os.environ", FAKE_CREDENTIALS),
        tempfile.TemporaryDirectory() as place,
        small_disk(Path(place) / "shipper"),
        a_host(Path(place), aws) as (host, s3),
    ):
        host.start()
        host.chain.add(_BEFORE)
        host.wait_until_shipped()
        with FAULTS[name](host, s3):
            _write(host, fault_s)
            shipped = {sink: host.shipped(sink) - _BEFORE for sink in ("s3", "journal")}
        began = time.monotonic()
        host.wait_until_shipped()
        back_s = time.monotonic() - began
        time.sleep(0.2)  # what the journal has got is read in another thread
        known = Counter(host.in_journal())
        return Row(
            name, _WRITTEN, shipped["s3"], shipped["journal"], back_s,
            missing=host.chain.head.seq - len(known),
            twice=known.total() - len(known),
            is_whole=_is_whole(host, s3, Path(place) / "restored"),
        )  # fmt: skip


def _write(host: Host, spread_s: float) -> None:
    pieces = 20
    for _ in range(pieces):
        host.chain.add(_WRITTEN // pieces)
        time.sleep(spread_s / pieces)


def _is_whole(host: Host, s3: StrictS3, to: Path) -> bool:
    out = io.StringIO()
    place = [f"s3://{BUCKET}/trail", "--region", REGION, "--endpoint-url", s3.url, "--to", str(to)]
    with contextlib.redirect_stdout(out):
        code = secretsctl(["audit-restore", *place, "--json"])
    (chain,) = json.loads(out.getvalue())["chains"]
    restored = b"".join(path.read_bytes() for path in sorted(to.glob("*/*.jsonl")))
    return code == 0 and chain["records"] == host.chain.head.seq and restored == host.chain.bytes()


if __name__ == "__main__":
    print(table(measure()))
