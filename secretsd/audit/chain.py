"""The chain of hashes through the lines of an audit file. Pure; docs/audit.md says it for other languages.

    hash = hex(SHA-256(the hash before, 64 ASCII digits || the line's bytes before `,"hash":"`))

The first line of a file is its opening. It is no record: it says which hash the file's first record follows.
Of a new chain that is the SHA-256 of the opening itself, which names daemon, host, boot and time, so that no
two chains begin alike; of a file that goes on with a chain it is the hash of the record before.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

SCHEMA = 1
_SEAL, _PREVIOUS = b',"hash":"', b',"previous":"'
_END = b'"}\n'
_DIGITS = 64
_ID_DIGITS = 32
LONGEST_OPENING_BYTES = 4096
_BODY = -len(_SEAL) - _DIGITS - len(_END)  # of a record: where its bytes before the hash end
_RECORD = re.compile(rb'\{"seq":([1-9]\d{0,17}),"time":".*,"hash":"([0-9a-f]{64})"\}\n')
_OPENING = re.compile(
    rb'\{"schema":1,"daemon":.*,"follows":(0|[1-9]\d{0,17}),"previous":"([0-9a-f]{64})"\}\n'
)
_TORN = re.compile(rb'"torn":\{"offset":(\d{1,18}),"bytes":(\d{1,18})\}')


class Head(NamedTuple):
    """The end of a chain: the number of its last record (0: none yet) and its hash, 64 ASCII digits."""

    seq: int
    hash: bytes


class Span(NamedTuple):
    """Bytes of a file that are no record."""

    offset: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Flaw:
    """The first thing that does not fit: the number of the record that should be there, its line, and why."""

    record: int
    line: int
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a walk along a file found. `head` is the last record that fits.

    `torn` are bytes that a later record names as left by a crash; `unfinished` is a last line without its
    end, which the next start will name, or which is being written right now.
    """

    head: Head
    records: int
    flaw: Flaw | None = None
    torn: tuple[Span, ...] = ()
    unfinished: Span | None = None


def seal(previous: bytes, body: bytes) -> tuple[bytes, bytes]:
    """The hash of a record and its whole line. `body` is the line's bytes before the member "hash"."""
    digest = hashlib.sha256(previous + body).hexdigest().encode()
    return digest, b'%b,"hash":"%b"}\n' % (body, digest)


def opening(daemon: str, host: str, boot: str, time: str, head: Head | None = None) -> tuple[bytes, Head]:
    """The first line of a file, and the head that its first record follows: `head`, or a new chain's."""
    follows = head.seq if head else 0
    said = {"schema": SCHEMA, "daemon": daemon, "host": host, "boot": boot, "time": time, "follows": follows}
    body = json.dumps(said, separators=(",", ":"))[:-1].encode()
    head = head or Head(0, _start(body))
    return body + _PREVIOUS + head.hash + _END, head


def _start(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def file_id(opening: bytes) -> str:
    """What a file is called by: the same for a copy of it, different for every other. 32 digits."""
    return hashlib.sha256(opening).hexdigest()[:_ID_DIGITS]


def opening_of(beginning: bytes) -> tuple[bytes, Head] | None:
    """The opening of a file and the head that it goes on from; of LONGEST_OPENING_BYTES of its beginning.

    None where the file does not begin with a whole one.
    """
    line = beginning[: beginning.find(b"\n") + 1]
    found = _OPENING.fullmatch(line)
    return (line, Head(int(found[1]), found[2])) if found else None


def head_of(line: bytes) -> Head | None:
    """The head after `line`, if it is a whole record or opening. Whether it fits is not looked at."""
    found = _RECORD.fullmatch(line) or _OPENING.fullmatch(line)
    return Head(int(found[1]), found[2]) if found else None


def last_head(tail: bytes) -> tuple[Head, int] | None:
    """The last whole record or opening in the end of a file, and where in `tail` its line ends."""
    end = tail.rfind(b"\n") + 1
    while end:
        start = tail.rfind(b"\n", 0, end - 1) + 1
        if head := head_of(tail[start:end]):
            return head, end
        end = start
    return None


def verify(lines: Iterable[bytes], after: Head | None = None, *, left_out: int = 0) -> Verdict:
    """Walks along the lines of one file, each with its newline, to the first that does not fit.

    `after` is the head that the file before ended with. Without it a file that goes on with a chain is taken
    at its opening's word. A cut at a record's end cannot be seen from the file alone: compare `head` with
    what is known from elsewhere.

    `left_out` are bytes of the file that are not among its lines, behind the first: the records that name
    torn bytes count them.
    """
    return _Walk(left_out).along(lines, after)


class _Walk:
    """One walk along a file."""

    def __init__(self, left_out: int) -> None:
        self.head = Head(0, b"")
        self.line = 0
        self.records = 0
        self.offset = left_out  # where the line begins
        self.unread: int | None = None  # where the bytes that are no record began
        self.torn: list[Span] = []

    def along(self, lines: Iterable[bytes], after: Head | None) -> Verdict:
        for line in lines:
            self.line += 1
            if self.line == 1:
                why = self.opened(line, after)
            elif self.fits(line):
                why = ""
            else:
                why = self.step(line)
            if why:
                return self.verdict(why)
            self.offset += len(line)
        if self.unread is None:
            return self.verdict("" if self.line else "the file is empty")
        if line.endswith(b"\n"):
            return self.verdict("a line before the end is no record")
        unfinished = Span(self.unread, self.offset - self.unread)
        return Verdict(self.head, self.records, None, tuple(self.torn), unfinished)

    def verdict(self, why: str) -> Verdict:
        flaw = Flaw(self.head.seq + 1, self.line, why) if why else None
        return Verdict(self.head, self.records, flaw, tuple(self.torn))

    def opened(self, line: bytes, after: Head | None) -> str:
        """Takes the first line. Returns what is wrong with it, or nothing."""
        found = _OPENING.fullmatch(line)
        if not found:
            self.head = after or self.head
            return "the first line is no opening: the beginning of the file is gone or altered"
        head = Head(int(found[1]), found[2])
        if not head.seq and head.hash != _start(line[: -len(_PREVIOUS) - _DIGITS - len(_END)]):
            return "the opening was altered"
        if after is not None and head != after:
            self.head = after
            return f"the file does not go on where the one before ended: it follows record {head.seq}"
        self.head = head
        return ""

    def fits(self, line: bytes) -> bool:
        """Takes a line if it is the next record and nothing is torn: as nearly all are, so it is fast."""
        seq = self.head.seq + 1
        if self.unread is not None or b'"torn":' in line or not line.startswith(b'{"seq":%d,"time":"' % seq):
            return False
        digest = hashlib.sha256(self.head.hash + line[:_BODY]).hexdigest().encode()
        if line[_BODY:] != b"%b%b%b" % (_SEAL, digest, _END):
            return False
        self.head = Head(seq, digest)
        self.records += 1
        return True

    def step(self, line: bytes) -> str:
        """Takes a further line. Returns what is wrong with it, or nothing."""
        found = _RECORD.fullmatch(line)
        if not found:
            if self.unread is None:
                self.unread = self.offset
            return ""
        if why := self.tear(line):
            return why
        seq, digest, expected = int(found[1]), found[2], self.head.seq + 1
        if seq > expected:
            return f"missing: record {seq} comes after {self.head.seq}"
        if seq < expected:
            return f"record {seq} comes after {self.head.seq}: put in, repeated or moved"
        if seal(self.head.hash, line[:_BODY])[0] != digest:
            return "its hash does not fit: the record was altered, or it follows another one"
        self.head = Head(seq, digest)
        self.records += 1
        return ""

    def tear(self, line: bytes) -> str:
        """Compares the bytes that are no record with what the record after them says of them."""
        named = _TORN.search(line) if b'"torn":' in line else None
        if self.unread is None:
            return "the torn line that it names is gone" if named else ""
        if not named:
            return "what stands in its place is no record, and nothing names it as torn"
        span = Span(int(named[1]), int(named[2]))
        # A line without its end was given one before the record that names it.
        if span.offset != self.unread or self.offset - span.offset - span.bytes not in (0, 1):
            return "the torn line before it is not the one that it names"
        self.unread = None
        self.torn.append(span)
        return ""
