"""The records of all chains, in the order of time, and those that are still to come. None is verified.

Clocks may be set, so within a chain the order is its own.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

from secretsd.audit import archive
from secretsd.audit.archive import Identity, Piece
from secretsd.audit.query import Query, Record, Sieve

_POLL_S = 0.2
_BLOCK_BYTES = 256 * 1024
_OF_BUNDLES = "refresher"  # whose chain tells what bundles are made of
_BEGIN = b'{"seq":'
_TIME = b',"time":"'
_TIME_CHARACTERS = len("2026-03-01T12:00:00.123456Z")
_SEQ = re.compile(rb"[1-9]\d{0,17}")
_HASH, _SEAL = b',"hash":"', slice(-76, -67)  # where every record has that
# What a record that no daemon has written can raise on its way: it must not hide those behind it.
DAMAGE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


class Entry(NamedTuple):
    """A record, the host that wrote it, and the daemon in whose chain it stands."""

    time: str
    host: str
    daemon: str
    record: Record


class _Reader:
    """One chain; it remembers how far it has read."""

    def __init__(self, sieve: Sieve) -> None:
        self._sieve = sieve
        self._since, self._until = sieve.query.since.encode(), sieve.query.until.encode()
        self._seq = 0
        self._beginning = b""  # of the chain: no two have the same
        self._read: dict[Identity, int] = {}  # file -> bytes of it that were read

    def entries(self, pieces: Sequence[Piece]) -> Iterator[Entry]:
        """What was not read yet."""
        self._read = known = {each.identity: self._read.get(each.identity, 0) for each in pieces}
        for piece, following in zip(pieces, [*pieces[1:], None], strict=True):
            if not piece.follows.seq and piece.follows.hash != self._beginning:
                self._seq, self._beginning = 0, piece.follows.hash
            if not _is_too_old(piece, following, self._sieve.query):
                piece.file.seek(known[piece.identity])
                yield from self.further(piece)

    def further(self, piece: Piece) -> Iterator[Entry]:
        """From where the file was read to, up to the last whole line."""
        begin, may_fit = piece.file.tell(), self._sieve.may_fit
        for block in _blocks(piece.file):
            begin += len(block)
            # Most blocks have nothing of what is rare, and are not even cut into lines.
            for line in filter(may_fit, block.splitlines(keepends=True) if may_fit(block) else ()):
                if (entry := self._entry(line, piece)) is not None:
                    yield entry
        piece.file.seek(begin)
        self._read[piece.identity] = begin

    def _entry(self, line: bytes, piece: Piece) -> Entry | None:
        at = line.find(_TIME)
        if at < 0 or not line.startswith(_BEGIN):
            return None  # the opening, or what a crash has left
        begin = at + len(_TIME)
        seq, moment = line[len(_BEGIN) : at], line[begin : begin + _TIME_CHARACTERS]
        if not _SEQ.fullmatch(seq) or line[_SEAL] != _HASH:
            return None  # what a crash has left: the record of that number is still to come
        if int(seq) <= self._seq:
            return None  # it stands in two files: the daemon was writing it as its file was taken away
        self._seq = int(seq)
        if not self._since <= moment < self._until:
            return None
        try:
            record = json.loads(line)
            self._sieve.learn(record)
            if not self._sieve.fits(record):
                return None
        except DAMAGE:
            return None
        return Entry(moment.decode(errors="replace"), piece.host, piece.daemon, record)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines, many at once; what ends without a newline is being written, and left out."""
    rest = b""
    while data := file.read(_BLOCK_BYTES):
        whole, newline, rest = (rest + data).rpartition(b"\n")
        yield whole + newline


def entries(places: Sequence[Path], query: Query) -> Iterator[Entry]:
    """What fits, of all chains in these places together. Raises: OSError."""
    with ExitStack() as stack:
        sieve, chains = Sieve(query), archive.opened(places, stack)
        _learn(sieve, chains)
        yield from _merged([(_Reader(sieve), pieces) for pieces in chains])


def follow(places: Sequence[Path], query: Query) -> Iterator[Entry | None]:
    """As `entries`, and then what is added, for ever; None each time that there is nothing more for now.

    Raises: OSError.
    """
    sieve: Sieve | None = None
    readers: dict[tuple[Path, str], _Reader] = {}
    while True:
        with ExitStack() as stack:
            paths, chains = archive.paths(places), []
            opened = archive.opened(places, stack)
            if sieve is None:
                sieve = Sieve(query)
                _learn(sieve, opened)
            for pieces in opened:
                name = pieces[0].path.parent, pieces[0].daemon
                chains.append((readers.setdefault(name, _Reader(sieve)), pieces))
            yield from _merged(chains)
            currents = [pieces[-1] for _, pieces in chains]
            while archive.paths(places) == paths and all(map(archive.is_current, currents)):
                yield None
                time.sleep(_POLL_S)
                for reader, pieces in chains:
                    yield from reader.further(pieces[-1])


def _merged(chains: Iterable[tuple[_Reader, Sequence[Piece]]]) -> Iterator[Entry]:
    # Each chain keeps its own order, whatever its clock did.
    return heapq.merge(*(reader.entries(pieces) for reader, pieces in chains), key=lambda entry: entry.time)


def _is_too_old(piece: Piece, following: Piece | None, query: Query) -> bool:
    """Whether all of a file was written before `since`, as the time tells at which the next was begun.

    Where the clock went back in between, it tells nothing. A file that was begun behind `until` may hold what
    is older: while the disk fails records wait in memory.
    """
    return following is not None and "" < piece.begun <= following.begun < query.since


def _learn(sieve: Sieve, chains: Iterable[Sequence[Piece]]) -> None:
    """What the bundles that are asked for were made of, in the time that is asked for and just before it."""
    for pieces in chains:
        unknown = {*sieve.query.bundles} if pieces[0].daemon == _OF_BUNDLES else set()
        for piece, following in reversed(list(zip(pieces, [*pieces[1:], None], strict=True))):
            if not unknown and (not sieve.query.bundles or _is_too_old(piece, following, sieve.query)):
                break
            piece.file.seek(0)
            for block in filter(sieve.may_tell, _blocks(piece.file)):
                for line in filter(sieve.may_tell, block.splitlines()):
                    with contextlib.suppress(*DAMAGE):
                        unknown.discard(sieve.learn(json.loads(line)))
