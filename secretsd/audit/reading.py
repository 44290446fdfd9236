"""The records of all chains, in the order of time, and those that are still to come. None is verified.

Clocks may be set, so within a chain the order is its own.
"""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from secretsd.audit import archive
from secretsd.audit.archive import Piece
from secretsd.audit.query import Query, Record

_POLL_S = 0.2
_BEGIN = b'{"seq":'
_TIME = b',"time":"'
_TIME_CHARACTERS = len("2026-03-01T12:00:00.123456Z")


class Entry(NamedTuple):
    """A record and the daemon in whose chain it stands."""

    time: str
    daemon: str
    record: Record


class _Reader:
    """One chain; it remembers how far it has read."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._seq = 0
        self._beginning = b""  # of the chain: no two have the same

    def entries(self, pieces: Iterable[Piece]) -> Iterator[Entry]:
        """What was not read yet."""
        for piece in pieces:
            if not piece.follows.seq and piece.follows.hash != self._beginning:
                self._seq, self._beginning = 0, piece.follows.hash
            piece.file.seek(0)
            yield from self.further(piece)

    def further(self, piece: Piece) -> Iterator[Entry]:
        """From where the file was read to, up to the last whole line."""
        begin = piece.file.tell()
        for line in piece.file:
            if not line.endswith(b"\n"):
                break  # it is being written
            begin += len(line)
            if (entry := self._entry(line, piece.daemon)) is not None:
                yield entry
        piece.file.seek(begin)

    def _entry(self, line: bytes, daemon: str) -> Entry | None:
        at = line.find(_TIME)
        if at < 0 or not line.startswith(_BEGIN):
            return None  # the opening, or what a crash has left
        begin = at + len(_TIME)
        seq, moment = line[len(_BEGIN) : at], line[begin : begin + _TIME_CHARACTERS].decode(errors="replace")
        if not seq.isdigit() or int(seq) <= self._seq:
            return None  # it stands in two files: the daemon was writing it as its file was taken away
        self._seq = int(seq)
        if not self._query.since <= moment < self._query.until:
            return None
        try:
            record = json.loads(line)
        except ValueError:
            return None
        return Entry(moment, daemon, record) if self._query.fits(record) else None


def entries(places: Sequence[Path], query: Query) -> Iterator[Entry]:
    """What fits, of all chains in these places together. Raises: OSError."""
    with ExitStack() as stack:
        yield from _merged([(_Reader(query), pieces) for pieces in archive.opened(places, stack)])


def follow(places: Sequence[Path], query: Query) -> Iterator[Entry | None]:
    """As `entries`, and then what is added, for ever; None each time that there is nothing more for now.

    Raises: OSError.
    """
    readers: dict[tuple[Path, str], _Reader] = {}
    while True:
        with ExitStack() as stack:
            paths, chains = archive.paths(places), []
            for pieces in archive.opened(places, stack):
                name = pieces[0].path.parent, pieces[0].daemon
                chains.append((readers.setdefault(name, _Reader(query)), pieces))
            yield from _merged(chains)
            currents = [pieces[-1] for _, pieces in chains]
            while archive.paths(places) == paths and all(map(archive.is_current, currents)):
                yield None
                time.sleep(_POLL_S)
                for reader, pieces in chains:
                    yield from reader.further(pieces[-1])


def _merged(chains: Iterable[tuple[_Reader, Iterable[Piece]]]) -> Iterator[Entry]:
    # Each chain keeps its own order, whatever its clock did.
    return heapq.merge(*(reader.entries(pieces) for reader, pieces in chains), key=lambda entry: entry.time)
