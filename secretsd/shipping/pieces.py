"""A piece of a chain's files, as it goes to a sink: what it follows, where it ends, whether it fits. Pure.

A piece is bytes of one file as they are, from a record's end (or the file's beginning) to a record's end,
torn lines in between included: whoever joins all pieces of a file has the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from secretsd.audit.chain import Head, head_of, seal

_RECORD = b'{"seq":'
_SEAL = b',"hash":"'
_END = b'"}\n'
_DIGITS = 64


@dataclass(frozen=True, slots=True)
class Position:
    """How far a sink has come: the last record that it has, and where in which file that record ends."""

    head: Head
    file: str  # `file_id` of the opening
    offset: int  # bytes from the file's beginning


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a file from `offset` on, with one whole record or more, the last of which ends them."""

    file: str
    offset: int
    data: bytes = field(repr=False)
    follows: Head  # what its first record follows, by its own word
    head: Head  # its last record
    first: int  # the number of its first record
    records: int
    missing: int = 0  # records between what the sink has and this: removed before they could be sent
    flaw: str = ""  # the first thing in it that does not fit, in words

    @property
    def end(self) -> Position:
        return Position(self.head, self.file, self.offset + len(self.data))

    def lines(self) -> Iterator[tuple[Head, bytes]]:
        """Its records, each with its newline; openings and torn lines are passed over."""
        return records_in(self.data)

    def upto(self, records: int) -> Position:
        """Where its first `records` records end; at least one."""
        size, left = 0, records
        for line in self.data.splitlines(keepends=True):
            size += len(line)
            if line.startswith(_RECORD) and (head := head_of(line)):
                left -= 1
                if not left:
                    return Position(head, self.file, self.offset + size)
        return self.end


def records_in(data: bytes) -> Iterator[tuple[Head, bytes]]:
    """The records among the lines of `data`, each with its newline."""
    for line in data.splitlines(keepends=True):
        if line.startswith(_RECORD) and (head := head_of(line)):
            yield head, line


def misfit(before: Head, head: Head, line: bytes) -> str:
    """Why `line`, a record that says it is `head`, does not follow `before`; nothing where it does."""
    if head.seq != before.seq + 1:
        return f"record {head.seq} comes after record {before.seq}"
    if seal(before.hash, line[: -len(_SEAL) - _DIGITS - len(_END)])[0] != head.hash:
        return f"record {head.seq} was altered, or follows another one than record {before.seq}"
    return ""


def whole_records(data: bytes) -> int:
    """How many of the first bytes end with a whole record; 0 where there is none yet."""
    end = data.rfind(b"\n") + 1
    while end:
        start = data.rfind(b"\n", 0, end - 1) + 1
        line = data[start:end]
        if line.startswith(_RECORD) and head_of(line):
            return end
        end = start
    return 0


def examine(file: str, offset: int, data: bytes, after: Head | None, flaw: str = "") -> Piece:
    """The piece that `data` is; it ends with a record.

    `after` is the record that the sink has, None for none; `flaw` is what is known to be wrong already.
    """
    walk = _Walk(after, flaw)
    for number, line in enumerate(data.splitlines(keepends=True)):
        head = head_of(line)
        if head is None:
            continue
        if offset == 0 and number == 0 and not line.startswith(_RECORD):
            walk.opened(head)
        else:
            walk.step(head, line)
    return Piece(
        file=file,
        offset=offset,
        data=data,
        follows=walk.follows or Head(0, b""),
        head=walk.head or Head(0, b""),
        first=walk.first,
        records=walk.records,
        missing=walk.missing,
        flaw=walk.flaw,
    )


class _Walk:
    """One walk along the lines of a piece."""

    def __init__(self, after: Head | None, flaw: str) -> None:
        self.head = self.follows = after
        self.first = self.records = self.missing = 0
        self.flaw = flaw

    def opened(self, head: Head) -> None:
        after, self.head, self.follows = self.head, head, head
        if after is None or head == after or head.seq == 0:
            return
        # A smaller number: the file begins with what was written to two files. They are sent again.
        self.missing = max(0, head.seq - after.seq)
        if head.seq == after.seq:
            self.flaw = f"its file follows another record {head.seq} than the one that was sent"

    def step(self, head: Head, line: bytes) -> None:
        if self.head is not None and not self.flaw:
            self.flaw = misfit(self.head, head, line)
        self.head = head
        self.first = self.first or head.seq
        self.records += 1
