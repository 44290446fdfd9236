"""A bucket in memory with versions, as the verification reads one, and the shipper's sink that fills it."""

from __future__ import annotations

import gzip
from collections.abc import Callable

from secretsd.audit.chain import Head
from secretsd.audit.file import stamp
from secretsd.shipping import manifest as bucket
from secretsd.shipping.courier import ChainPlace
from secretsd.shipping.follow import Follower
from secretsd.shipping.pieces import Position
from secretsd.shipping.proof.verification import Part, Stored, Verdict, verify
from tests.shipping.chains import Chain

HOST = "fake-host"


class Memory:
    """Versions of objects; `at_s` is the time of what is put."""

    def __init__(self) -> None:
        self.at_s = 1000.0
        self._bytes: dict[Stored, bytes] = {}

    @property
    def versions(self) -> list[Stored]:
        return list(self._bytes)

    @property
    def keys(self) -> list[str]:
        return list(dict.fromkeys(each.key for each in self._bytes))

    def put(self, key: str, body: bytes) -> None:
        self._bytes[Stored(key, f"v{len(self._bytes)}", self.at_s, len(body))] = body

    def delete(self, key: str) -> None:
        """A delete marker: all that Object Lock lets anybody do."""
        self._bytes[Stored(key, f"v{len(self._bytes)}", self.at_s, is_marker=True)] = b""

    def remove(self, key: str) -> None:
        """What Object Lock lets nobody do."""
        self._bytes = {each: body for each, body in self._bytes.items() if each.key != key}

    def alter(self, key: str, change: Callable[[bytes], bytes]) -> None:
        """Again what nobody can do: the bytes of what is there."""
        self._bytes = {each: change(body) if each.key == key else body for each, body in self._bytes.items()}

    def latest(self, key: str) -> bytes:
        return [body for each, body in self._bytes.items() if each.key == key][-1]

    def read(self, stored: Stored) -> bytes:
        return self._bytes[stored]


class Shipper:
    """Ships a chain into a `Memory` by hand."""

    def __init__(self, chain: Chain | ChainPlace, memory: Memory, prefix: str = "") -> None:
        self._chain = chain
        self._follower = Follower(chain.directory, chain.daemon)
        self.memory = memory
        self._prefix = prefix
        self.position: Position | None = None
        self.receipt = ""

    def ship(self, limit_bytes: int = 4096) -> None:
        while piece := self._follower.read(self.position, limit_bytes):
            before = bucket.before_of(self.receipt)
            manifest = bucket.manifest_of(piece, self._prefix, HOST, self._chain.daemon, before)
            self.memory.put(manifest.content, gzip.compress(piece.data))
            self.memory.put(bucket.manifest_key(manifest), bucket.manifest_bytes(manifest))
            self.position, self.receipt = piece.end, bucket.receipt_of(manifest)

    def anchor(self, head: Head | None = None, time_ns: int = 0) -> None:
        anchor = bucket.Anchor(HOST, self._chain.daemon, head or self._head(), stamp(time_ns))
        self.memory.put(bucket.anchor_key(self._prefix, anchor), bucket.anchor_bytes(anchor))

    def _head(self) -> Head:
        head = self._follower.latest()
        assert head is not None
        return head

    def verified(self, age_s: float = 7200.0) -> Verdict:
        versions = self.memory.versions
        return verify(HOST, self._chain.daemon, versions, self.memory.read, self.memory.at_s + age_s)

    def restored(self) -> bytes:
        parts: list[Part] = []
        verify(HOST, self._chain.daemon, self.memory.versions, self.memory.read, 0.0, parts.append)
        return b"".join(part.data for part in parts)
