"""Is the trail in a bucket whole and unaltered? Pure: what the bucket holds comes in by `Stored`.

Every version of every object counts: what was written over or hidden by a delete marker is still there.
Batches are put in their order by their manifests, each of which names the one before; the files that they are
pieces of are joined and walked along (audit/chain.py), and what was anchored must be found in them.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, groupby
from typing import NamedTuple

from secretsd.audit import chain
from secretsd.audit.chain import Head, head_of
from secretsd.shipping.manifest import (
    CONTENT,
    MANIFEST,
    SHOWN_DIGITS,
    Manifest,
    manifest_key,
    read_anchor_key,
    read_manifest,
)
from secretsd.shipping.proof.batches import (
    LARGEST_BYTES,
    Batch,
    first_difference,
    first_of,
    holding,
    in_order,
    missing_before,
    stand_in,
    unzipped,
)

# What was anchored and has not come after so long will not come. While S3 is out neither of them comes.
GRACE_S = 3600.0
# Each is compared with each: who may add to the bucket must not keep a reader busy for ever.
_MOST_ACCOUNTS = 64
_OPENING = b'{"schema":'


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of an object; `at_s` is when the bucket took it, in seconds since the epoch."""

    key: str
    version: str
    at_s: float
    size: int = 0  # bytes
    is_marker: bool = False  # it has no bytes: it hides the versions before it


class Finding(NamedTuple):
    """Something to tell. A flaw names the first record that does not fit, or may not; else it is 0."""

    is_flaw: bool
    record: int
    key: str
    why: str


@dataclass(slots=True)
class Verdict:
    """What is in the bucket of one chain."""

    host: str
    daemon: str
    batches: int = 0
    records: int = 0
    anchors: int = 0
    head: Head = field(default=Head(0, b""))
    findings: list[Finding] = field(default_factory=list)

    @property
    def flaw(self) -> Finding | None:
        """The flaw with the lowest record."""
        flaws = [each for each in self.findings if each.is_flaw]
        return min(flaws, key=lambda each: each.record) if flaws else None


class Part(NamedTuple):
    """Bytes of an audit file, for whoever restores it. `account` counts the shipper's accounts from 1."""

    account: int
    file: str
    first: int
    offset: int
    data: bytes


Read = Callable[[Stored], bytes]
Keep = Callable[[Part], None]


def places_of(versions: Sequence[Stored], prefix: str) -> dict[tuple[str, str], list[Stored]]:
    """The versions of each chain, by host and daemon. What lies elsewhere below the prefix is of none."""
    found: dict[tuple[str, str], list[Stored]] = {}
    for each in versions:
        parts = each.key.removeprefix(prefix).split("/")
        if len(parts) == 4 and parts[2] in ("batches", "anchors"):
            found.setdefault((parts[0], parts[1]), []).append(each)
    return found


def verify(
    host: str, daemon: str, versions: Sequence[Stored], read: Read, now_s: float, keep: Keep | None = None
) -> Verdict:
    """Reads all versions of one chain's objects. `keep` is given the files' bytes, in their order.

    Raises: whatever `read` and `keep` do.
    """
    return _Verification(Verdict(host, daemon), versions, read, keep).run(now_s)


class _Anchor(NamedTuple):
    key: str
    time: str
    seq: int
    hash: str  # its beginning
    at_s: float  # when the bucket took it


class _Verification:
    def __init__(self, verdict: Verdict, versions: Sequence[Stored], read: Read, keep: Keep | None) -> None:
        self.verdict = verdict
        self.read = read
        self.keep = keep
        self.by_key: dict[str, list[Stored]] = {}
        for each in versions:
            if each.is_marker:
                self.tell(each.key, "was deleted: the versions below the delete marker count all the same")
            else:
                self.by_key.setdefault(each.key, []).append(each)
        self.anchors: list[_Anchor] = []
        self.wanted: set[bytes] = set()  # how records begin of which there is an anchor
        self.last_read = "", b""
        self.seen: set[tuple[int, str]] = set()  # of these, those that were found

    def run(self, now_s: float) -> Verdict:
        self.read_anchors()
        batches = self.read_manifests()
        self.verdict.batches = len(batches)
        for record, key in missing_before(batches):
            self.blame(record, key, "is missing: a later batch names it")
        lines = in_order(batches)
        for number, line in enumerate(lines, 1):
            self.walk(number, line)
        for one, other in combinations(lines[:_MOST_ACCOUNTS], 2):
            self.compare(one, other)
        if len(lines) > _MOST_ACCOUNTS:
            first = lines[_MOST_ACCOUNTS][0]
            why = (
                f"begins account {_MOST_ACCOUNTS + 1} of {len(lines)}: so many are none that a shipper has"
                " begun anew, and this one and those behind it are not compared with the others"
            )
            self.blame(first.manifest.first, first.key, why)
        self.check_anchors(now_s)
        self.tell_unfinished(batches)
        return self.verdict

    def tell(self, key: str, why: str) -> None:
        self.verdict.findings.append(Finding(is_flaw=False, record=0, key=key, why=why))

    def blame(self, record: int, key: str, why: str) -> None:
        self.verdict.findings.append(Finding(is_flaw=True, record=record, key=key, why=why))

    def bytes_of(self, stored: Stored) -> bytes:
        return self.read(stored) if stored.size <= LARGEST_BYTES else b""

    # What is there

    def read_anchors(self) -> None:
        for key, versions in self.by_key.items():
            if "/anchors/" not in key:
                continue
            if (named := read_anchor_key(key)) is None:
                self.tell(key, "is no anchor, by its name")
                continue
            self.anchors.append(_Anchor(key, *named, min(each.at_s for each in versions)))
            self.wanted.add(b'{"seq":%d' % named[1])
        self.verdict.anchors = len(self.anchors)

    def read_manifests(self) -> dict[str, Batch]:
        """All batches, by the digests of their manifests."""
        found: dict[str, Batch] = {}
        for key, versions in self.by_key.items():
            if not key.endswith(MANIFEST):
                continue
            good = 0
            for data in map(self.bytes_of, versions):
                manifest = read_manifest(data)
                if manifest is not None and self.is_ours(manifest) and manifest_key(manifest) == key:
                    digest = hashlib.sha256(data).hexdigest()
                    found[digest] = Batch(manifest, key, digest)
                    good += 1
            others = len(versions) - good
            if others and good:
                self.tell(
                    key, f"was written over: {others} of its versions is no manifest; the good one counts"
                )
            elif others:
                self.blame(first_of(key), key, "is no manifest: it was altered")
        return found

    def is_ours(self, manifest: Manifest) -> bool:
        return (manifest.host, manifest.daemon) == (self.verdict.host, self.verdict.daemon)

    # Whether it fits

    def walk(self, number: int, line: Sequence[Batch]) -> None:
        head: Head | None = None
        for _, group in groupby(line, key=lambda each: each.manifest.file):
            batches = list(group)
            for batch in batches:
                if batch.manifest.flaw:
                    self.tell(batch.key, f"was shipped with these words: {batch.manifest.flaw}")
            head = self.walk_file(number, batches, self.goes_on(line, batches[0], head))
        if head is not None and head.seq > self.verdict.head.seq:
            self.verdict.head = head

    def walk_file(self, number: int, batches: Sequence[Batch], after: Head | None) -> Head:
        """Walks along what is there of a file, anew behind each missing batch. Returns where it ends."""
        left, head = deque(batches), batches[-1].manifest.head
        while left:
            data = self.content(left[0])
            if not data:
                left.popleft()
                after = None
                continue
            begin = left[0].manifest
            left_out = begin.offset - len(stand_in(begin)) if begin.offset else 0
            lines = self.lines(number, batches[0].manifest.first, left, data)
            verdict = chain.verify(lines, after, left_out=left_out)
            for _ in lines:  # behind a flaw: for the anchors, and for whoever keeps the bytes
                pass
            self.verdict.records += verdict.records
            if verdict.flaw is not None:
                self.blame(verdict.flaw.record, holding(batches, verdict.flaw.record), verdict.flaw.why)
            elif not left and verdict.head != head:
                self.blame(
                    verdict.head.seq, batches[-1].key, "says that its content ends otherwise than it does"
                )
                head = verdict.head
            after = None
        return head

    def goes_on(self, line: Sequence[Batch], first: Batch, head: Head | None) -> Head | None:
        """What the file that begins with `first` has to follow; None where that cannot be told from here."""
        follows = first.manifest.follows
        if head is None:
            if follows.seq and first.manifest.before is None:
                self.tell(
                    first.key, f"is the first batch: nothing before record {first.manifest.first} was shipped"
                )
            return None
        if follows.seq == 0:
            self.tell(first.key, f"begins a new chain, after record {head.seq} of the one before")
            return None
        if follows.seq > head.seq:
            why = (
                f"records {head.seq + 1} to {follows.seq} were removed from the host before they were shipped"
            )
            self.blame(head.seq + 1, first.key, why)
            return None
        # Where a file was replaced, the batch of records that was being written stands in both.
        if follows.seq < head.seq and follows in self.heads(line, follows.seq, follows.seq):
            return None
        return head

    def lines(self, number: int, first: int, left: deque[Batch], data: bytes) -> Iterator[bytes]:
        """The lines of a file from `left`'s first batch on, whose content is `data`, to a missing one."""
        offset = left[0].manifest.offset
        if offset:
            yield stand_in(left[0].manifest)
        while data:
            batch = left.popleft()
            manifest = batch.manifest
            if manifest.offset != offset:
                self.blame(
                    manifest.first, batch.key, f"begins at byte {manifest.offset} of its file, not {offset}"
                )
            offset = manifest.offset + len(data)
            if self.keep is not None:
                self.keep(Part(number, manifest.file, first, manifest.offset, data))
            for each in data.splitlines(keepends=True):
                self.find(each)
                yield each
            data = self.content(left[0]) if left else b""

    def find(self, line: bytes) -> None:
        """Notes what was anchored. An opening names a record, too: the one before."""
        is_of_interest = line[: line.find(b",")] in self.wanted or line.startswith(_OPENING)
        if is_of_interest and (head := head_of(line)):
            self.seen.add((head.seq, head.hash[:SHOWN_DIGITS].decode()))

    def content(self, batch: Batch) -> bytes:
        """The batch's content as its manifest tells it; else what there is, so that it is looked at."""
        if self.last_read[0] == batch.digest:
            return self.last_read[1]
        self.last_read = batch.digest, self.looked_up(batch.manifest)
        return self.last_read[1]

    def looked_up(self, manifest: Manifest) -> bytes:
        versions = self.by_key.get(manifest.content, [])
        good, others = b"", 0
        for data in self.contents(versions):
            if hashlib.sha256(data).hexdigest() == manifest.sha256:
                good = data
            else:
                others += 1
        if others and good:
            self.tell(
                manifest.content,
                f"was written over: {others} of its versions differs; the shipped one counts",
            )
        if good:
            return good
        why = (
            "is not what its manifest says: it was altered"
            if versions
            else "is missing: its manifest is there"
        )
        self.blame(first_difference(manifest, self.contents(versions)), manifest.content, why)
        return next(self.contents(versions), b"")

    def contents(self, versions: Sequence[Stored]) -> Iterator[bytes]:
        """Of each version, one at a time: of any number of them no more is in memory."""
        return map(unzipped, map(self.bytes_of, versions))

    def heads(self, line: Sequence[Batch], first: int, last: int) -> dict[Head, str]:
        """Records `first` to `last` of an account, each with the batch that holds it."""
        found = {}
        for batch in line:
            manifest = batch.manifest
            if manifest.first <= last and manifest.head.seq >= first:
                for data in self.contents(self.by_key.get(manifest.content, [])):
                    for head in filter(None, map(head_of, data.splitlines(keepends=True))):
                        if first <= head.seq <= last:
                            found[head] = batch.key
        return found

    def compare(self, line: Sequence[Batch], other: Sequence[Batch]) -> None:
        """Two accounts must not differ in what both tell."""
        first = max(line[0].manifest.first, other[0].manifest.first)
        last = min(line[-1].manifest.head.seq, other[-1].manifest.head.seq)
        if first > last:
            return
        one, two = self.heads(line, first, last), self.heads(other, first, last)
        if differing := sorted(one.keys() ^ two.keys()):
            head = differing[0]
            key = one.get(head) or two[head]
            self.blame(
                head.seq, key, "another batch tells another record of that number: one of them is forged"
            )
        else:
            self.tell(other[0].key, f"records {first} to {last} were shipped twice, and are the same")

    def check_anchors(self, now_s: float) -> None:
        known, shipped = 0, self.verdict.head.seq
        for anchor in sorted(self.anchors, key=lambda each: (each.seq, each.time)):
            if (anchor.seq, anchor.hash) in self.seen:
                known = anchor.seq
            elif any(each.is_flaw and known < each.record <= anchor.seq for each in self.verdict.findings):
                continue  # what is named already keeps it from being found
            elif anchor.seq <= shipped:
                why = (
                    f"at {anchor.time} record {anchor.seq} had another hash: the chain was computed anew from"
                    f" a record between {known + 1} and {anchor.seq} on"
                )
                self.blame(known + 1, anchor.key, why)
            elif now_s - anchor.at_s > GRACE_S:
                why = f"at {anchor.time} there were {anchor.seq} records, and {shipped} are here"
                self.blame(shipped + 1, anchor.key, why)
            else:
                self.tell(anchor.key, f"records {shipped + 1} to {anchor.seq} have not been shipped yet")

    def tell_unfinished(self, batches: Mapping[str, Batch]) -> None:
        named = {batch.manifest.content for batch in batches.values()}
        for key in self.by_key:
            if key.endswith(CONTENT) and key not in named:
                self.tell(key, "has no manifest: its upload was not finished; see which batch came instead")
