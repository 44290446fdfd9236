"""The files of chains on a disk: found, put in order, walked along. For whoever may read them; no daemon.

A directory may be a daemon's own, in which it writes at this moment, or a copy from elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from secretsd.audit import chain
from secretsd.audit.chain import Flaw, Head

# DAEMON.jsonl is being written, DAEMON-SEQ.jsonl was full; not what a daemon has moved aside.
_NAME = re.compile(r"([a-z]+)(?:-([0-9]{20})(?:-[0-9]+)?)?\.jsonl")
_NO_OPENING = Head(2**63, b"")  # such a file comes last: its flaw is named where it would go on
_LONGEST_OPENING_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Piece:
    """One file of a chain, open; `follows` is the record before its first one, as its opening says."""

    path: Path
    daemon: str
    follows: Head
    file: BinaryIO


@dataclass(frozen=True, slots=True)
class Walked:
    """What a walk along all files of a chain found, up to its first flaw, which is in the file `flawed`."""

    daemon: str
    pieces: Sequence[Piece]
    records: int
    head: Head
    flaw: Flaw | None = None
    flawed: Path | None = None
    torn: int = 0  # places where a crash has left bytes that a record names
    is_unfinished: bool = False  # it ends within a line

    @property
    def follows(self) -> Head:
        """The record before the first of these: with number 0 the chain begins here."""
        return self.pieces[0].follows


def paths(places: Iterable[Path]) -> list[Path]:
    """The files of chains in these places; a place is a file, or a directory with all that is below it."""
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            below = (path for path in place.rglob("*.jsonl") if _NAME.fullmatch(path.name))
            found += sorted(path for path in below if path.is_file() and not path.is_symlink())
        else:
            found.append(place)
    return found


def opened(places: Sequence[Path], stack: ExitStack) -> list[list[Piece]]:
    """The files of each chain in their order; `stack` closes them.

    Chains in different directories are different ones. Of a chain that is being written it is what there was
    at one moment, though daemons begin new files meanwhile. Raises: OSError.
    """
    # The file that is being written first: those that were full before it are all there by now.
    written = [path for path in paths(places) if _is_written(path)]
    pieces = [_piece(path, stack) for path in written]
    for path in paths(places):
        # One that is gone by now was the oldest: a daemon has removed it.
        with suppress(FileNotFoundError):
            pieces += [_piece(path, stack)] if path not in written else []
    unique = {_identity(piece.file): piece for piece in reversed(pieces)}  # one file may have two names
    ordered = sorted(unique.values(), key=lambda p: (p.path.parent, p.daemon, p.follows.seq, p.path.name))
    chains = [list(group) for _, group in groupby(ordered, lambda p: (p.path.parent, p.daemon))]
    return [_up_to_the_written(chain) for chain in chains]


def _up_to_the_written(pieces: list[Piece]) -> list[Piece]:
    """Without files that were begun after the one that was found to be written."""
    ends = [piece.follows.seq for piece in pieces if _is_written(piece.path)]
    return [p for p in pieces if not ends or p.follows.seq <= ends[0] or p.follows is _NO_OPENING]


def _is_written(path: Path) -> bool:
    name = _NAME.fullmatch(path.name)
    return name is not None and name[2] is None


def walk(pieces: Sequence[Piece]) -> Walked:
    """Walks along the files of one chain to the first record that does not fit. May take seconds."""
    daemon, head, records, torn = pieces[0].daemon, None, 0, 0
    verdict = chain.Verdict(Head(0, b""), 0)
    for number, piece in enumerate(pieces, 1):
        piece.file.seek(0)
        verdict = chain.verify(piece.file, head)
        head, records, torn = verdict.head, records + verdict.records, torn + len(verdict.torn)
        if verdict.unfinished and number < len(pieces):
            why = "the file ends within a line, and another follows"
            flaw = Flaw(head.seq + 1, verdict.records + 2, why)
            return Walked(daemon, pieces, records, head, flaw, piece.path, torn)
        if verdict.flaw:
            return Walked(daemon, pieces, records, head, verdict.flaw, piece.path, torn)
    return Walked(daemon, pieces, records, verdict.head, torn=torn, is_unfinished=bool(verdict.unfinished))


def is_current(piece: Piece) -> bool:
    """Whether the file is still at its path: it is not while a daemon goes on in another one."""
    try:
        return _identity_at(piece.path) == _identity(piece.file)
    except FileNotFoundError:
        return False


def against(walked: Walked, anchor: Head) -> Flaw | None:
    """What is wrong with a chain that fits in itself, if `anchor` is a head that was noted elsewhere."""
    if anchor.seq > walked.head.seq:
        end = f"the chain ends with record {walked.head.seq}, the anchor knows {anchor.seq}"
        why = f"the end was cut off: {end}"
        return Flaw(walked.head.seq + 1, 0, why)
    if anchor.seq < walked.follows.seq:
        why = f"the anchor is of record {anchor.seq}, and these files begin behind {walked.follows.seq}"
        return Flaw(anchor.seq, 0, why)
    if _hash_of(walked, anchor.seq) != anchor.hash:
        why = "the chain was computed anew: up to this record it is another one than the anchor's"
        return Flaw(anchor.seq, 0, why)
    return None


def _hash_of(walked: Walked, seq: int) -> bytes:
    piece = [piece for piece in walked.pieces if piece.follows.seq <= seq][-1]
    if piece.follows.seq == seq:
        return piece.follows.hash
    begins = b'{"seq":%d,' % seq
    piece.file.seek(0)
    for line in piece.file:
        if line.startswith(begins) and (head := chain.head_of(line)):
            return head.hash
    return b""


def _piece(path: Path, stack: ExitStack) -> Piece:
    file = stack.enter_context(path.open("rb"))
    line = file.readline(_LONGEST_OPENING_BYTES)
    head = None if line.startswith(b'{"seq":') else chain.head_of(line)
    name = _NAME.fullmatch(path.name)
    said = re.match(rb'\{"schema":1,"daemon":"([a-z]+)"', line)
    daemon = name[1] if name else said[1].decode() if said else path.stem
    return Piece(path, daemon, head or _NO_OPENING, file)


def _identity(file: BinaryIO) -> tuple[int, int]:
    there = os.fstat(file.fileno())
    return there.st_dev, there.st_ino


def _identity_at(path: Path) -> tuple[int, int]:
    there = path.stat()
    return there.st_dev, there.st_ino
