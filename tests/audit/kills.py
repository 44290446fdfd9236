"""Whoever writes a trail, killed at any moment again and again, and what the files then hold."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from secretsd.audit import archive

ROOT = Path(__file__).resolve().parents[2]
_LIFE_S = 0.02  # the longest, from the first answer on
_LAST = 999_000_000_000  # the number of what is written by the last life, which ends in order


@dataclass(frozen=True, slots=True)
class Writer:
    """A process whose answers are numbers, and how its records name them; `records` of each."""

    daemon: str
    program: str
    number: re.Pattern[bytes]
    records: int

    def command(self, directory: Path, first: int, count: int = 0) -> list[str]:
        return [sys.executable, "-m", self.program, str(directory), str(first), str(count)]


# Of a signature both records are on the disk before its answer; of an order its intent, before it is done.
SIGNER = Writer("signer", "tests.audit.strict_writer", re.compile(rb'"request":(\d+),'), 2)
REFRESHER = Writer(
    "refresher", "tests.audit.order_writer", re.compile(rb'"phase":"intent",.*"generation":(\d+)'), 1
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a trail holds of what was answered. `unreadable` says in words what no record explains."""

    acknowledged: int
    lost: list[int]
    unreadable: str
    records: int
    files: int
    torn: int


def killed(writer: Writer, directory: Path, kills: int) -> tuple[list[int], int]:
    """Kills as many writers, one after the other, under load.

    Returns the numbers that were answered, and how many were killed in the middle of beginning a new file.
    """
    moments = random.Random(4)  # the same moments each time
    answered: list[int] = []
    rotating: set[int] = set()
    for life in range(kills):
        command = writer.command(directory, life * 1_000_000)
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        said = process.stdout.readline()  # it is at work
        time.sleep(moments.uniform(0, _LIFE_S))
        process.kill()
        said += process.stdout.read()
        process.stdout.close()
        process.wait()
        assert said
        # A last number without its newline was cut by the kill.
        answered += [int(line) for line in said.split(b"\n")[:-1]]
        rotating |= left_by_a_rotation(directory / f"{writer.daemon}.jsonl")
    # One more life that ends in order names what is torn.
    last = writer.command(directory, _LAST, 1)
    subprocess.run(last, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return answered, len(rotating)


def left_by_a_rotation(path: Path) -> set[int]:
    """The inodes of what a rotation has left that was cut: a file with two names, or a draft."""
    found = [path] if path.stat().st_nlink > 1 else []
    draft = path.with_suffix(".new")
    return {each.stat().st_ino for each in [*found, *([draft] if draft.exists() else [])]}


def judged(writer: Writer, directory: Path, answered: Collection[int]) -> Found:
    """Holds the files against what was answered."""
    with ExitStack() as stack:
        (pieces,) = archive.opened([directory], stack)
        walked = archive.walk(pieces)
        lost = _lost(writer, (line for piece in pieces for line in _lines(piece)), answered)
    why = f"record {walked.flaw.record}: {walked.flaw.why}" if walked.flaw else ""
    if walked.is_unfinished:
        why = "the end is torn"
    return Found(len(answered), lost, why, walked.records, len(pieces), walked.torn)


def finds_what_is_planted(writer: Writer, directory: Path, answered: Collection[int]) -> bool:
    """Whether `judged` finds a record that is gone, and a line that is none, in a copy of these files."""
    number = sorted(answered)[len(answered) // 2]
    with tempfile.TemporaryDirectory() as place:
        copy = Path(shutil.copytree(directory, Path(place) / "copy"))
        (path,) = (each for each in copy.iterdir() if _lost(writer, _of(each), [number]) == [])
        lines = _of(path)
        path.write_bytes(b"".join(line for line in lines if _number(writer, line) != number))
        without = judged(writer, copy, answered)
        path.write_bytes(b"".join([*lines[:-1], b'{"seq":9,"ti\n', lines[-1]]))
        unreadable = judged(writer, copy, answered)
    return without.lost == [number] and unreadable.lost == [] and unreadable.unreadable != ""


def _lost(writer: Writer, lines: Iterable[bytes], answered: Collection[int]) -> list[int]:
    """What was answered and is not on record."""
    on_record = Counter(_number(writer, line) for line in lines)
    return [number for number in answered if on_record[number] < writer.records]


def _number(writer: Writer, line: bytes) -> int | None:
    found = writer.number.search(line)
    return int(found[1]) if found else None


def _lines(piece: archive.Piece) -> Iterable[bytes]:
    piece.file.seek(0)
    return piece.file


def _of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)
