"""Which full files of a trail may be removed, and what keeps the others. Pure.

A file that somebody may still need as evidence stays: one that a sink has not wholly got, one in which or
behind which the chain does not fit, and all that are newer than such a one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from secretsd.audit.chain import Head


@dataclass(frozen=True, slots=True)
class TrailFile:
    """A file of a chain on this host, as its opening and its end say."""

    name: str
    id: str  # `file_id` of its opening
    follows: Head
    last: Head
    ended_at_s: float  # the time of its last record, in seconds since the epoch
    bytes: int
    identity: tuple[int, int]  # device and inode

    @property
    def first(self) -> int:
        """The number of its first record."""
        return self.follows.seq + 1


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a sink has come: to record `record` in `files[index]`, with all behind number `since`.

    `index` is -1 where that is not known, or not true of these files.
    """

    sink: str
    index: int = -1
    record: int = 0
    since: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """What stays at least: records of so many seconds, and so many bytes of a chain."""

    keep_s: float
    keep_bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Files to remove, in this order; `obstacle` says why one that is old enough stays, in words."""

    remove: tuple[TrailFile, ...] = ()
    obstacle: str = ""


def plan(files: Sequence[TrailFile], reaches: Sequence[Reach], rule: Rule, now_s: float) -> Plan:
    """`files` are a chain's, oldest first; the last one is being written, and stays.

    Without `reaches` a file needs to be nowhere else. `now_s` is in seconds since the epoch.
    """
    remove: list[TrailFile] = []
    left_bytes = sum(file.bytes for file in files)
    for number, file in enumerate(files[:-1]):
        left_bytes -= file.bytes
        if now_s - file.ended_at_s < rule.keep_s or left_bytes < rule.keep_bytes:
            break
        if why := _obstacle(files, number, reaches):
            return Plan(tuple(remove), f"{file.name} and what follows it stay, though old enough: {why}")
        if any(reach.index == number for reach in reaches):
            break  # all of it is there, but the place must be seen that the next records go on from
        remove.append(file)
    return Plan(tuple(remove))


def _obstacle(files: Sequence[TrailFile], number: int, reaches: Sequence[Reach]) -> str:
    file = files[number]
    for reach in reaches:
        if reach.index < 0:
            return f"it is not known what {reach.sink} has; secretsctl doctor"
        if reach.index < number or reach.record < file.last.seq:
            return f"{reach.sink} has not got it yet; secretsctl doctor"
        if reach.since > file.follows.seq:
            return f"records were missing or did not fit when {reach.sink} got it; keep it as evidence"
    # Up to where the sinks stand, or what they have said is of another chain.
    upto = max([number + 1, *(reach.index for reach in reaches)])
    if any(after.follows != before.last for before, after in pairwise(files[number : upto + 1])):
        return "the chain does not fit behind it; secretsctl log --verify"
    return ""
