"""Trails on a disk as the daemons leave them, with records of the test's own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from secretsd.audit import chain, record
from secretsd.audit.chain import Head
from secretsd.signing.model import Peer

BOOT = "11111111-2222-3333-4444-555555555555"
TRADER = record.actor(Peer(4242, 1001, frozenset({1001}), "trading-bot.service", 98765))
OPERATOR = record.actor(Peer(77, 0, frozenset({0}), None, 5))


def at(minute: float) -> str:
    """A time as records have it; minutes after noon of a day in March."""
    second = round(minute * 60)
    return f"2026-03-01T{12 + second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.000000Z"


class Writer:
    """One daemon's chain; `per_file` records go into each file."""

    def __init__(
        self, directory: Path, daemon: str, *, per_file: int = 1000, begun: float = 0, host: str = "fake-host"
    ) -> None:
        self.path = directory / f"{daemon}.jsonl"
        self._daemon, self._host = daemon, host
        self._per_file = per_file
        self._head: Head | None = None
        self._in_file = 0
        directory.mkdir(parents=True, exist_ok=True)
        self._begin(begun)

    def add(self, minute: float, *members: str) -> None:
        """Records of that minute."""
        for each in members:
            if self._in_file == self._per_file:
                self._rotate(minute)
            assert self._head is not None
            seq = self._head.seq + 1
            digest, line = chain.seal(self._head.hash, f'{{"seq":{seq},"time":"{at(minute)}",{each}'.encode())
            self._head, self._in_file = Head(seq, digest), self._in_file + 1
            with self.path.open("ab") as file:
                file.write(line)

    @property
    def head(self) -> Head:
        assert self._head is not None
        return self._head

    def _begin(self, minute: float) -> None:
        line, self._head = chain.opening(self._daemon, self._host, BOOT, at(minute), self._head)
        self.path.write_bytes(line)
        self._first, self._in_file = self._head.seq + 1, 0

    def _rotate(self, minute: float) -> None:
        self.path.rename(self.path.with_name(f"{self._daemon}-{self._first:020d}.jsonl"))
        self._begin(minute)


def signatures(key: str, numbers: Iterable[int], actor: str = TRADER) -> list[str]:
    """Intent and outcome of each."""
    use = record.use("sign", key, "sha2-256", actor)
    return [said for n in numbers for said in (record.intent(use, n, 1), record.outcome(use, n, 1))]


def fetched(secret: str, version: str = "v1") -> str:
    return record.event("fetch", details={"source": "aws", "secret": secret, "version_id": version})


def published(bundle: str, generation: int, *secrets: str) -> str:
    made_of = [{"source": "aws", "secret": secret, "version_id": "v1"} for secret in secrets]
    details = {"bundle": bundle, "generation": generation, "why": "it changed", "secrets": made_of}
    return record.event("publish", details=details)


def notified(bundle: str, generation: int, unit: str, outcome: str = "acted") -> str:
    details = {"bundle": bundle, "generation": generation, "unit": unit, "outcome": outcome}
    return record.event("notify", details=details)
