"""Follows a chain through its files, whatever is done to them: rotated, removed, put back, replaced, altered.

Reads alone. The file that is followed stays open, so that what is taken away after it was found is read to
its end all the same.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from secretsd.audit.chain import LONGEST_OPENING_BYTES, Head, file_id, last_head, opening_of
from secretsd.shipping.pieces import Piece, Position, examine, whole_records

_TAIL_BYTES = 65536
_LONGEST_GAP_BYTES = 64 * 1024 * 1024  # bytes in a row that are no record, and are still read over
_SEARCHED_BYTES = 1 << 20
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(slots=True)
class _Open:
    """A file of the chain."""

    fd: int
    id: str
    follows: Head  # what its opening says
    identity: tuple[int, int]  # device and inode

    def close(self) -> None:
        os.close(self.fd)


class Follower:
    """The chain of `daemon` in `directory`. All methods raise OSError where the directory cannot be read."""

    def __init__(self, directory: Path, daemon: str) -> None:
        self.daemon = daemon
        self._directory = directory
        self._current = directory / f"{daemon}.jsonl"
        self._rotated = re.compile(rf"{re.escape(daemon)}-\d{{20}}(-\d+)?\.jsonl")
        self._open: _Open | None = None

    def read(self, position: Position | None, limit_bytes: int, exact_bytes: int = 0) -> Piece | None:
        """What comes after `position` (None: from the oldest file on), or None while nothing does.

        At most about `limit_bytes`, and where `exact_bytes` are given and there, just those. Several calls
        with one position give the same bytes, or more of them.
        """
        file, offset = self._find(position)
        while file is not None:
            # Looked at first: what is written after that goes to another file.
            is_left = not self._is_current(file)
            data = _whole(file.fd, offset, exact_bytes or limit_bytes)
            if data:
                is_altered = position is not None and file.id == position.file and not offset
                flaw = "its file was altered after it had been sent" if is_altered else ""
                return examine(file.id, offset, data, position.head if position else None, flaw)
            file, offset = self._next(file, position) if is_left else (None, 0)
        return None

    def is_finished(self, piece: Piece) -> bool:
        """Whether nothing more will come behind `piece` in its file: the daemon writes to another one."""
        file = self._open
        return file is not None and file.id == piece.file and not self._is_current(file)

    def latest(self) -> Head | None:
        """The last record that the daemon has written; None where there is no file yet."""
        with _opened(self._current) as file:
            return None if file is None else _last(file.fd)

    def waiting_bytes(self, position: Position | None) -> int:
        """How much of the chain's files lies behind `position`."""
        total = 0
        for path in reversed(self._paths()):  # the position is in one of the last
            with _opened(path) as file:
                if file is None:
                    continue
                size = os.fstat(file.fd).st_size
                if position is not None and file.id == position.file:
                    return total + size - position.offset
                total += size
                if position is not None and file.follows.seq < position.head.seq:
                    return total
        return total

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _find(self, position: Position | None) -> tuple[_Open | None, int]:
        """The file at `position`, and where to read on in it."""
        if position is None:
            return self._take(next(self._files(), None)), 0
        held = self._open
        if held is None or held.id != position.file:
            held = self._take(self._by_id(position.file))
        if held is None:  # shipped and then removed, or never seen: what begins last of what can go on
            return self._take(self._going_on_from(position.head)), 0
        if _ends_with(held.fd, position.offset, position.head.hash):
            return held, position.offset
        return held, 0  # altered in its place: all of it is sent, as evidence

    def _next(self, file: _Open, position: Position | None) -> tuple[_Open | None, int]:
        """What is to be read after `file`, of which all is read and to which nobody writes any more."""
        head = position.head if position else file.follows
        for each in self._files():
            if each.follows == head and each.id != file.id:
                return self._take(each), 0
            each.close()
        is_past = False
        for each in self._files():
            if each.id != file.id and is_past:
                return self._take(each), 0
            is_copy = each.id == file.id and each.identity != file.identity
            if is_copy and self._is_current(each):  # it was put back
                self._take(each)
                return self._find(position)
            is_past = is_past or each.id == file.id
            each.close()
        return (None if is_past else self._take(self._going_on_from(head))), 0

    def _going_on_from(self, head: Head) -> _Open | None:
        """Where it goes on behind `head`, whose own file is gone: the first file that holds anything newer.

        Where that is another chain, whose numbers say nothing, it is the first of that chain's files.
        """
        begin, before = "", None
        for each in self._files():
            with contextlib.closing(each):
                last = _last(each.fd)
                begin = begin if each.follows == before else each.id
                before = last
                if each.follows == head or last.seq > head.seq or self._is_current(each):
                    is_ours = each.follows == head or each.follows.seq > head.seq or _holds(each.fd, head)
                    chosen = each.id if is_ours else begin
                    break
        else:
            return None
        return self._by_id(chosen)

    def _by_id(self, wanted: str) -> _Open | None:
        for each in self._files():
            if each.id == wanted:
                return each
            each.close()
        return None

    def _is_current(self, file: _Open) -> bool:
        with contextlib.suppress(FileNotFoundError):
            there = os.stat(self._current, follow_symlinks=False)
            return (there.st_dev, there.st_ino) == file.identity
        # Rotated a moment ago, or gone: until another one stands there, this one may still be written.
        return True

    def _take(self, file: _Open | None) -> _Open | None:
        if file is not None and file is not self._open:
            self.close()
            self._open = file
        return file

    def _files(self) -> Iterator[_Open]:
        """The chain's files in their order, each to be closed by whoever takes it."""
        for path in self._paths():
            file = _open(path)
            if file is not None:
                yield file

    def _paths(self) -> list[Path]:
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return []
        return [
            *(self._directory / name for name in sorted(names) if self._rotated.fullmatch(name)),
            self._current,
        ]


def _open(path: Path) -> _Open | None:
    """The file, if it is one with an opening."""
    try:
        fd = os.open(path, _FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    there = os.fstat(fd)
    opened = opening_of(os.pread(fd, LONGEST_OPENING_BYTES, 0)) if stat.S_ISREG(there.st_mode) else None
    if opened is None:
        os.close(fd)
        return None
    opening, head = opened
    return _Open(fd, file_id(opening), head, (there.st_dev, there.st_ino))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_Open | None]:
    file = _open(path)
    try:
        yield file
    finally:
        if file is not None:
            file.close()


def _last(fd: int) -> Head:
    """The last record of the file; 0 where its end holds none."""
    size = os.fstat(fd).st_size
    start = max(0, size - _TAIL_BYTES)
    found = last_head(os.pread(fd, size - start, start))
    return found[0] if found else Head(0, b"")


def _holds(fd: int, head: Head) -> bool:
    """Whether this record is in the file. Reads all of it, at worst."""
    end, offset = b'"' + head.hash + b'"}\n', 0
    while data := os.pread(fd, _SEARCHED_BYTES, offset):
        if end in data:
            return True
        offset += max(1, len(data) - len(end))
        if len(data) < _SEARCHED_BYTES:
            break
    return False


def _whole(fd: int, offset: int, limit_bytes: int) -> bytes:
    """Bytes from `offset` on that end with a record; of more than the limit only where one record is."""
    while True:
        data = os.pread(fd, limit_bytes, offset)
        end = whole_records(data)
        if end or len(data) < limit_bytes or limit_bytes >= _LONGEST_GAP_BYTES:
            return data[:end]
        limit_bytes *= 4


def _ends_with(fd: int, offset: int, digest: bytes) -> bool:
    """Whether the line that ends at `offset` has this hash."""
    end = b'"' + digest + b'"}\n'
    return os.pread(fd, len(end), offset - len(end)) == end if offset >= len(end) else False
