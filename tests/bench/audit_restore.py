"""A trail of a million records put together and verified from S3 alone, with moto as S3.

    python -m tests.bench.audit_restore

The command is a process of its own, as an auditor runs it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from secretsd.shipping.courier import ChainPlace
from tests.bench import audit
from tests.bench.figures import Figure, table
from tests.lab.aws import FAKE_CREDENTIALS, REGION, FakeAws
from tests.shipping import buckets
from tests.shipping.bed import Memory, Shipper

RECORDS = 1_000_000
_BATCH_BYTES = 4 * 1024 * 1024  # the S3 sink's own
_BUCKET = "fake-million"


def measure() -> list[Figure]:
    """The command, and the part of it that is the download."""
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp", prefix="audit-restore-") as place,
        FakeAws.local() as aws,
    ):
        home = Path(place)
        audit.write(home / "trail", RECORDS)
        shipper = Shipper(ChainPlace("signer", home / "trail"), Memory())
        shipper.ship(_BATCH_BYTES)
        shipper.anchor()
        buckets.upload(shipper.memory, aws.client("s3", read_timeout_s=60), _BUCKET)
        download_s = _download(shipper.memory, aws)
        sizes = [stored.size for stored in shipper.memory.versions]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        chain = _restored(home / "restored", aws)
        spent_s = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        is_same = _bytes_below(home / "restored") == _bytes_below(home / "trail")
    worked_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    is_whole = chain["is_whole"] and chain["records"] == RECORDS
    note = f"{sum(sizes) / 1e6:.0f} MB in {len(sizes)} objects; all versions read, verified, written"
    return [
        Figure(f"secretsctl audit-restore of {RECORDS:,} records", spent_s, "s", note=note),
        Figure(
            "of it the processor time of the command",
            worked_s,
            "s",
            note=f"{RECORDS / worked_s:.0f} records/s",
        ),
        Figure(
            "the download alone, by another process", download_s, "s", note="moto is the slower side of it"
        ),
        Figure(
            "it is whole, and byte by byte what the host had", int(is_whole and is_same), "", 1, exactly=True
        ),
    ]


def _restored(to: Path, aws: FakeAws) -> dict[str, Any]:
    words = [f"s3://{_BUCKET}/", "--region", REGION, "--endpoint-url", aws.url, "--to", str(to), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "secretsd.cli", "audit-restore", *words],
        env={**os.environ, **FAKE_CREDENTIALS},
        check=True,
        stdout=subprocess.PIPE,
    )
    (chain,) = json.loads(done.stdout)["chains"]
    return dict(chain)


def _download(memory: Memory, aws: FakeAws) -> float:
    s3 = aws.client("s3", read_timeout_s=60)
    began = time.monotonic()
    for stored in memory.versions:
        s3.get_object(Bucket=_BUCKET, Key=stored.key)["Body"].read()
    return time.monotonic() - began


def _bytes_below(directory: Path) -> bytes:
    """All files, in the order of their names; the one without a number is the last."""
    paths = sorted(directory.rglob("*.jsonl"), key=lambda path: (path.name == "signer.jsonl", path.name))
    return b"".join(path.read_bytes() for path in paths)


if __name__ == "__main__":
    print(table(measure()))
