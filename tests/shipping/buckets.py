"""What somebody may do to a trail that is shipped: on the host afterwards, or in the bucket."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secretsd.audit.chain import Head
from secretsd.shipping.courier import ChainPlace
from secretsd.shipping.manifest import CONTENT
from tests.audit import tampering
from tests.audit.tampering import Files
from tests.shipping.bed import Memory, Shipper

_MINUTE_NS = 60_000_000_000
_BATCH_BYTES = 16384


@dataclass(frozen=True, slots=True)
class Case:
    """`record` is the first that may be false, 0 where all that was shipped must be found whole."""

    where: str
    deed: str
    record: int
    memory: Memory


def shipped(files: Files, place: Path, anchors: list[Head]) -> Shipper:
    """A shipper that has brought these files into its bucket, and these anchors."""
    tampering.write(files, place)
    shipper = Shipper(ChainPlace("signer", place), Memory())
    for number, head in enumerate(anchors):
        shipper.anchor(head, number * _MINUTE_NS)
    shipper.ship(_BATCH_BYTES)
    return shipper


def on_the_host(deed: str, files: Files, altered: Files, anchors: list[Head], record: int) -> Case:
    """The files are altered after they were shipped, and the shipper goes on."""
    with tempfile.TemporaryDirectory() as home:
        place = Path(home) / "audit"
        shipper = shipped(files, place, anchors)
        tampering.write(altered, place)
        shipper.ship(_BATCH_BYTES)
    return Case("host, after it was shipped", deed, record, shipper.memory)


def in_the_bucket(
    deed: str, files: Files, anchors: list[Head], record: int, do: Callable[[Memory], None]
) -> Case:
    """Objects are altered or removed, which Object Lock allows nobody."""
    with tempfile.TemporaryDirectory() as home:
        shipper = shipped(files, Path(home) / "audit", anchors)
    do(shipper.memory)
    return Case("bucket, past its lock", deed, record, shipper.memory)


def alter(record: int, change: Callable[[bytes], bytes]) -> Callable[[Memory], None]:
    """The content of the batch that holds a record is another one."""
    return lambda memory: memory.alter(
        _batch(memory, record), lambda body: gzip.compress(change(gzip.decompress(body)))
    )


def remove_from(record: int) -> Callable[[Memory], None]:
    """The batch with this record and all behind it are gone."""

    def do(memory: Memory) -> None:
        first = _batch(memory, record)
        for key in [each for each in _batches(memory) if each >= first]:
            _remove(memory, key)

    return do


def remove(record: int) -> Callable[[Memory], None]:
    """The batch with this record is gone."""
    return lambda memory: _remove(memory, _batch(memory, record))


def write_over(memory: Memory) -> None:
    """Each object has another version."""
    for key in memory.keys:
        memory.put(key, b"overwritten")


def delete(memory: Memory) -> None:
    """Each object has a delete marker."""
    for key in memory.keys:
        memory.delete(key)


def first_in_batch(memory: Memory, record: int) -> int:
    """The first record of the batch that holds this one."""
    return int(_batch(memory, record).rpartition("/")[2].partition("-")[0])


def upload(memory: Memory, s3: Any, bucket: str) -> None:
    """A bucket of S3 that holds the same versions in the same order."""
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for stored in memory.versions:
        if stored.is_marker:
            s3.delete_object(Bucket=bucket, Key=stored.key)
        else:
            s3.put_object(Bucket=bucket, Key=stored.key, Body=memory.read(stored))


def _batches(memory: Memory) -> list[str]:
    return sorted(key for key in memory.keys if "/batches/" in key and key.endswith(".gz"))


def _batch(memory: Memory, record: int) -> str:
    return [key for key in _batches(memory) if int(key.rpartition("/")[2].partition("-")[0]) <= record][-1]


def _remove(memory: Memory, key: str) -> None:
    """A batch and what says that it was there."""
    for each in [each for each in memory.keys if each.startswith(key.removesuffix(CONTENT))]:
        memory.remove(each)
