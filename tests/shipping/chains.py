"""Audit files as the daemons write them, made and mistreated by hand."""

from __future__ import annotations

import os
from pathlib import Path

from secretsd.audit import chain
from secretsd.audit.chain import Head

BOOT = "11111111-2222-3333-4444-555555555555"
TIME = "2026-03-01T12:00:00.000000Z"


class Chain:
    """A chain of `daemon` in `directory`, which its methods make longer."""

    def __init__(self, directory: Path, daemon: str = "signer", host: str = "fake-host") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.daemon = daemon
        self.path = directory / f"{daemon}.jsonl"
        self._host = host
        line, self.head = chain.opening(daemon, host, BOOT, TIME)
        self._first = 1
        self.path.write_bytes(line)

    def add(self, count: int = 1, members: str = '"action":"sign","result":"ok"') -> None:
        """More records."""
        lines = []
        for _ in range(count):
            seq = self.head.seq + 1
            digest, line = chain.seal(self.head.hash, f'{{"seq":{seq},"time":"{TIME}",{members}'.encode())
            self.head = Head(seq, digest)
            lines.append(line)
        with self.path.open("ab") as file:
            file.write(b"".join(lines))

    def tear(self, junk: bytes = b'{"seq":9,"ti') -> None:
        """A crash in the middle of a record, and the record that names it."""
        offset = self.path.stat().st_size
        with self.path.open("ab") as file:
            file.write(junk + b"\n")
        torn = f'"torn":{{"offset":{offset},"bytes":{len(junk)}}}'
        self.add(members=f'"action":"recovery","reason":"torn",{torn}')

    def rotate(self) -> Path:
        """The file gets its number, and another one goes on."""
        old = self.directory / f"{self.daemon}-{self._first:020d}.jsonl"
        os.rename(self.path, old)
        self._begin()
        return old

    def replace(self) -> None:
        """Somebody moved the file away; the daemon goes on in a new one."""
        os.rename(self.path, self.directory / "moved-away")
        self._begin()

    def put_back(self) -> None:
        """Somebody removed the file; the daemon, which had it open, made it anew."""
        data = self.path.read_bytes()
        self.path.unlink()
        self.path.write_bytes(data)

    def begin_anew(self) -> None:
        """The directory was emptied, and another chain begins."""
        for path in self.directory.iterdir():
            path.unlink()
        self.__init__(self.directory, self.daemon, self._host + "-again")  # type: ignore[misc]

    def bytes(self) -> bytes:
        """All files in their order."""
        return b"".join(path.read_bytes() for path in self.files())

    def files(self) -> list[Path]:
        return [*sorted(self.directory.glob(f"{self.daemon}-*.jsonl")), self.path]

    def _begin(self) -> None:
        self._first = self.head.seq + 1
        self.path.write_bytes(chain.opening(self.daemon, self._host, BOOT, TIME, self.head)[0])
