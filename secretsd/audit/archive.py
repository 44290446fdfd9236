"""The files of chains on a disk: found, put in order, walked along. For whoever may read them; no daemon.

A directory may be a daemon's own, in which it writes at this moment, or a copy from elsewhere.
"""

from __future__ import annotations

import json
import os
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from secretsd.audit import chain
from secretsd.audit.chain import Flaw, Head, Verdict

# DAEMON.jsonl is being written, DAEMON-SEQ.jsonl was full; not what a daemon has moved aside.
_NAME = re.compile(r"([a-z]+)(?:-([0-9]{20})(?:-[0-9]+)?)?\.jsonl")
Identity = tuple[int, int, bytes]  # device, inode, and its opening's hash: inodes are used again
_NO_OPENING = Head(2**63, b"")  # such a file comes last: its flaw is named where it would go on


@dataclass(frozen=True, slots=True)
class Piece:
    """One file of a chain, open.

    Its opening says when it was `begun`, as records have times, and on which host; both are empty where it
    cannot be read. `follows` is the record before its first one.
    """

    path: Path
    daemon: str
    follows: Head
    file: BinaryIO
    identity: Identity
    host: str = ""
    begun: str = ""


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
    for path in (path for path in paths(places) if path not in written):
        # One that was seen in a directory and is gone by now was the oldest: a daemon has removed it.
        with suppress(*() if path in places else (FileNotFoundError,)):
            pieces.append(_piece(path, stack))
    unique = {piece.identity: piece for piece in reversed(pieces)}  # one file may have two names
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
        verdict = _verify(piece, pieces[: number - 1], head)
        known, head = head or piece.follows, verdict.head
        records, torn = records + max(0, head.seq - known.seq), torn + len(verdict.torn)
        if verdict.unfinished and number < len(pieces):
            why = "the file ends within a line, and another follows"
            flaw = Flaw(head.seq + 1, verdict.records + 2, why)
            return Walked(daemon, pieces, records, head, flaw, piece.path, torn)
        if verdict.flaw:
            return Walked(daemon, pieces, records, head, verdict.flaw, piece.path, torn)
    return Walked(daemon, pieces, records, verdict.head, torn=torn, is_unfinished=bool(verdict.unfinished))


def _verify(piece: Piece, before: Sequence[Piece], head: Head | None) -> Verdict:
    """Walks along one file; `head` is the last record of those `before` it, if there are any.

    After a recovery ("replaced") it follows an earlier record than that, and tells those between once more.
    """
    piece.file.seek(0)
    follows = piece.follows
    if head is None or follows.seq >= head.seq or _hash_of(before, follows.seq) != follows.hash:
        return chain.verify(piece.file, head)
    verdict = chain.verify(piece.file, follows)
    told_twice = range(follows.seq + 1, min(verdict.head.seq, head.seq) + 1)

    def differs(seq: int) -> int:
        return _hash_of([piece], seq) != _hash_of(before, seq)

    if verdict.flaw is None and told_twice and differs(told_twice[-1]):
        first = told_twice[bisect_left(told_twice, 1, key=differs)]  # behind it all differ
        why = "the file before has another record of that number, and only one of them can be true"
        return replace(verdict, flaw=Flaw(first, first - follows.seq + 1, why))
    return replace(verdict, head=max(head, verdict.head))


def is_current(piece: Piece) -> bool:
    """Whether the file is still at its path: it is not while a daemon goes on in another one."""
    try:
        there = piece.path.stat()
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == piece.identity[:2]


def against(walked: Walked, anchor: Head, agreed: int = 0) -> Flaw | None:
    """What is wrong with a chain that fits in itself, if `anchor` is a head that was noted elsewhere.

    `agreed` is the record of an earlier anchor that was found in it, 0 for none.
    """
    if anchor.seq > walked.head.seq:
        end = f"the chain ends with record {walked.head.seq}, the anchor knows {anchor.seq}"
        why = f"the end was cut off: {end}"
        return Flaw(walked.head.seq + 1, 0, why)
    if anchor.seq < walked.follows.seq:
        why = f"the anchor is of record {anchor.seq}, and these files begin behind {walked.follows.seq}"
        return Flaw(anchor.seq, 0, why)
    if _hash_of(walked.pieces, anchor.seq) != anchor.hash:
        first = max(agreed, walked.follows.seq) + 1
        why = f"the chain was computed anew, from a record between {first} and {anchor.seq} on"
        return Flaw(anchor.seq, 0, why)
    return None


def _hash_of(pieces: Sequence[Piece], seq: int) -> bytes:
    """Of record `seq`, as the last of these files that has it tells it; empty where none has."""
    begins = b'{"seq":%d,' % seq
    for piece in reversed([piece for piece in pieces if piece.follows.seq <= seq]):
        if piece.follows.seq == seq:
            return piece.follows.hash
        piece.file.seek(0)
        for line in piece.file:
            if line.startswith(begins) and (head := chain.head_of(line)):
                return head.hash
    return b""


def _piece(path: Path, stack: ExitStack) -> Piece:
    file = stack.enter_context(path.open("rb"))
    opened = chain.opening_of(file.readline(chain.LONGEST_OPENING_BYTES))
    said = _said(opened[0]) if opened else {}
    name = _NAME.fullmatch(path.name)
    daemon = name[1] if name else said.get("daemon", path.stem)
    there, head = os.fstat(file.fileno()), opened[1] if opened else _NO_OPENING
    identity = there.st_dev, there.st_ino, head.hash
    return Piece(path, daemon, head, file, identity, said.get("host", ""), said.get("time", ""))


def _said(opening: bytes) -> dict[str, str]:
    try:
        return {name: str(value) for name, value in json.loads(opening).items()}
    except ValueError:
        return {}
