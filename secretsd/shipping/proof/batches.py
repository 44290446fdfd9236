"""Batches of a bucket: put in their order, and what their contents say by themselves. Pure."""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from secretsd.audit import chain
from secretsd.audit.chain import Head
from secretsd.shipping.manifest import Manifest
from secretsd.shipping.pieces import misfit, records_in

# No batch is larger: what is was not put by a shipper, and is not looked into.
LARGEST_BYTES = 128 * 1024 * 1024
_GZIP = 31  # zlib: with gzip's header and trailer


class Batch(NamedTuple):
    """A manifest, its key, and its digest, by which the next one names it."""

    manifest: Manifest
    key: str
    digest: str


def in_order(batches: Mapping[str, Batch]) -> list[list[Batch]]:
    """The accounts that the shipper has given, each in its order; one, if nothing has happened to its cursor.

    `batches` has them by their digests. An account whose beginning is missing is one, too.
    """
    after: dict[str, list[Batch]] = {}
    starts: deque[list[Batch]] = deque()
    for batch in sorted(batches.values(), key=lambda each: (each.manifest.first, each.key)):
        before = batch.manifest.before
        if before is None or before.sha256 not in batches:
            starts.append([batch])
        else:
            after.setdefault(before.sha256, []).append(batch)
    accounts = []
    while starts:
        account = starts.popleft()
        while following := after.pop(account[-1].digest, None):
            starts += [[other] for other in following[1:]]
            if _is_told_again(account, following[0]):
                starts.appendleft([following[0]])
                break
            account.append(following[0])
        accounts.append(account)
    return accounts


def missing_before(batches: Mapping[str, Batch]) -> list[tuple[int, str]]:
    """Manifests that others name and that are not there: the first record that each may hold, and its key."""
    found = []
    ends = sorted({0, *(each.manifest.head.seq for each in batches.values())})
    for batch in batches.values():
        before, first = batch.manifest.before, max(batch.manifest.first, 1)
        if before is not None and before.sha256 not in batches:
            found.append((ends[bisect_left(ends, first) - 1] + 1, before.key))
    return found


def _is_told_again(account: Sequence[Batch], batch: Batch) -> bool:
    """Whether a file is told a second time from its beginning: it was altered in its place."""
    return batch.manifest.offset == 0 and any(each.manifest.file == batch.manifest.file for each in account)


def holding(batches: Sequence[Batch], record: int) -> str:
    """The key of the batch that has, or should have, a record."""
    return next((each.key for each in batches if record <= each.manifest.head.seq), batches[-1].key)


def stand_in(manifest: Manifest) -> bytes:
    """An opening in the place of what is not there of a file's beginning."""
    return chain.opening(manifest.daemon, "", "", "", manifest.follows)[0]


def unzipped(data: bytes) -> bytes:
    """The content of a batch, as far as it goes; nothing where it is not gzip."""
    try:
        return zlib.decompressobj(_GZIP).decompress(data, LARGEST_BYTES)
    except zlib.error:
        return b""


def first_of(key: str) -> int:
    """The number of a batch's first record from its name; 0 where it has none."""
    number = key.rpartition("/")[2].partition("-")[0]
    return int(number) if number.isascii() and number.isdecimal() else 0


def first_difference(manifest: Manifest, altered: Iterable[bytes]) -> int:
    """The first record of altered contents that does not fit; the batch's first where each fits by itself."""
    for data in altered:
        head: Head = manifest.follows
        for each, line in records_in(data):
            if misfit(head, each, line):
                return head.seq + 1
            head = each
        if head != manifest.head:
            return head.seq + 1
    return manifest.first
