"""What somebody may do to a trail: edit, drop, move, cut, compute anew. Files are in memory, in order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from secretsd.audit import archive, chain
from secretsd.audit.archive import Piece
from secretsd.audit.chain import Flaw, Head
from tests.audit.trails import Writer, signatures

Files = list[bytes]
_FOLLOWS = re.compile(rb'"follows":\d+')
_SEAL = re.compile(rb',"hash":"[0-9a-f]{64}"\}\n')


class Place(NamedTuple):
    """A line: in which file, where it begins there, and its record's number; of an opening the next one's."""

    file: int
    offset: int
    line: bytes
    record: int
    is_opening: bool


def a_trail(directory: Path, records: int, per_file: int) -> Files:
    """A signer's chain of records in several files."""
    writer = Writer(directory, "signer", per_file=per_file)
    for number in range(records // 2):
        writer.add(number, *signatures("hot-wallet", [number]))
    with ExitStack() as stack:
        (pieces,) = archive.opened([directory], stack)
        return [piece.path.read_bytes() for piece in pieces]


def write(files: Sequence[bytes], directory: Path) -> None:
    """The files as a daemon names them, in the place of those that are there."""
    directory.mkdir(parents=True, exist_ok=True)
    names = set()
    for number, data in enumerate(files, 1):
        head = chain.head_of(data[: data.index(b"\n") + 1])
        first = head.seq + 1 if head else 0
        name = "signer.jsonl" if number == len(files) else f"signer-{first:020d}.jsonl"
        (directory / name).write_bytes(data)
        names.add(name)
    for path in directory.iterdir():
        if path.name not in names:
            path.unlink()


def places(files: Sequence[bytes]) -> Iterator[Place]:
    """Every line."""
    for number, data in enumerate(files):
        lines = data.splitlines(keepends=True)
        offsets = accumulate((len(line) for line in lines), initial=0)
        for is_later, (offset, line) in enumerate(zip(offsets, lines, strict=False)):
            head = chain.head_of(line)
            assert head is not None
            record = head.seq if is_later else head.seq + 1
            yield Place(number, offset, line, record, not is_later)


def place_of(files: Sequence[bytes], record: int) -> Place:
    return next(each for each in places(files) if each.record == record and not each.is_opening)


def head_of(files: Sequence[bytes], record: int) -> Head:
    head = chain.head_of(place_of(files, record).line)
    assert head is not None
    return head


# --- deeds ---------------------------------------------------------------------------------------------


def edited(files: Sequence[bytes], file: int, offset: int) -> Files:
    """One byte is another one."""
    data = bytearray(files[file])
    data[offset] ^= 1
    return [*files[:file], bytes(data), *files[file + 1 :]]


def edited_in(files: Sequence[bytes], record: int) -> Files:
    """Somebody else has done it."""
    place = place_of(files, record)
    return edited(files, place.file, place.offset + place.line.index(b'"uid":') + 6)


def dropped(files: Sequence[bytes], record: int) -> Files:
    """A record is gone."""
    return _with(files, place_of(files, record), b"")


def repeated(files: Sequence[bytes], record: int) -> Files:
    """A record is there twice."""
    place = place_of(files, record)
    return _with(files, place, place.line * 2)


def swapped(files: Sequence[bytes], record: int) -> Files:
    """A record and the one behind it, in the same file, have changed places."""
    one, other = place_of(files, record), place_of(files, record + 1)
    assert one.file == other.file
    return _with(_with(files, other, one.line), one, other.line)


def cut(files: Sequence[bytes], count: int) -> Files:
    """The last so many records are gone, at a record's end."""
    last = max(each.record for each in places(files) if not each.is_opening)
    place = place_of(files, last - count)
    return [*files[: place.file], files[place.file][: place.offset + len(place.line)]]


def without_file(files: Sequence[bytes], number: int) -> Files:
    """A whole file is gone."""
    return [*files[:number], *files[number + 1 :]]


def computed_anew(files: Sequence[bytes], record: int) -> Files:
    """A record says that another user has done it, and all hashes from there on are computed anew."""
    found, head = [], Head(0, b"")
    for data in files:
        lines = data.splitlines(keepends=True)
        opened = chain.head_of(lines[0])
        assert opened is not None
        head = head if head.seq else opened
        forged = [lines[0].replace(opened.hash, head.hash)]
        for line in lines[1:]:
            body = line[: -len(_SEAL.findall(line)[0])]
            if head.seq + 1 == record:
                body = body.replace(b'"uid":1001', b'"uid":0')
            digest, sealed = chain.seal(head.hash, body)
            head = Head(head.seq + 1, digest)
            forged.append(sealed)
        found.append(b"".join(forged))
    return found


def _with(files: Sequence[bytes], place: Place, line: bytes) -> Files:
    data = files[place.file]
    changed = data[: place.offset] + line + data[place.offset + len(place.line) :]
    return [*files[: place.file], changed, *files[place.file + 1 :]]


# --- the check -----------------------------------------------------------------------------------------


def flaw_of(files: Sequence[bytes], anchors: Sequence[Head] = ()) -> Flaw | None:
    """What a walk along the files finds, or else the first anchor that does not agree."""
    pieces = []
    for number, data in enumerate(files):
        head = chain.head_of(data[: data.find(b"\n") + 1]) or Head(2**63, b"")
        pieces.append(Piece(Path(str(number)), "signer", head, BytesIO(data), (0, number, b"")))
    walked = archive.walk(pieces)
    if walked.flaw is not None:
        return walked.flaw
    flaws = (archive.against(walked, anchor) for anchor in anchors)
    return next((flaw for flaw in flaws if flaw is not None), None)
