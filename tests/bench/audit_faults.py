"""A trail's disk is full, its file is removed, its disk is slow: what is refused, what goes on, what is lost.

    python -m tests.bench.audit_faults

The signer and the refresher beside OpenBao's file audit device, each with a trail on a disk of its own of the
same size, with the same fault, in the same run. Needs root and strace.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.audit.disk import full, slow, syncs_counted
from tests.audit.subjects import SUBJECTS, Held, OpenBaoSubject, Subject
from tests.bench import injection
from tests.bench.figures import Figure, grid, table

ASKED = 40
_SETTLE_S = 1.2  # a removal is noticed within a second where nothing is written
_DELAY_S = 0.5
_BACK_S = 20.0
_REFUSED_WITHIN_S = 0.35  # the disk's 250 ms and 100 ms to know it

Fault = Callable[[Subject], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def _full(subject: Subject) -> Iterator[None]:
    with full(subject.directory):
        yield


@contextlib.contextmanager
def _unlinked(subject: Subject) -> Iterator[None]:
    subject.path.unlink()
    time.sleep(_SETTLE_S)
    yield


@contextlib.contextmanager
def _slow(subject: Subject) -> Iterator[None]:
    with slow(subject.pid, subject.path, _DELAY_S):
        yield


UNLINKED, SLOW = "file unlinked", f"each write and sync {_DELAY_S:g} s late"
FAULTS: dict[str, Fault] = {
    "disk full": _full,
    UNLINKED: _unlinked,
    SLOW: _slow,
}


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one subject in one fault."""

    fault: str
    subject: str
    asked: int
    done: int
    slowest_s: float
    went_on: str
    back_s: float
    held: Held

    @property
    def is_ours(self) -> bool:
        return self.subject != OpenBaoSubject.name

    def cells(self) -> tuple[str, ...]:
        """The columns of `HEADINGS`."""
        refused = self.asked - self.done
        return (
            *(self.fault, self.subject, str(self.asked), str(self.done), str(refused)),
            *(f"{self.slowest_s * 1000:.0f} ms", self.went_on, f"{self.back_s:.1f} s"),
            *(str(self.held.lost), str(self.held.unreadable)),
        )


HEADINGS = (
    *("fault", "who", "asked", "done", "refused", "slowest answer", "goes on", "well again after"),
    *("answers lost", "unreadable lines"),
)


def measure() -> list[Figure]:
    """All faults of all three."""
    if (reason := injection.missing()) is not None:
        print(reason)
        return []
    rows = run(ASKED)
    print(grid(HEADINGS, [row.cells() for row in rows]), "", sep="\n")
    return [*figures(rows), *syncs(ASKED)]


def run(asked: int) -> list[Row]:
    """Each fault befalls each subject, which is asked so often before, in and after it.

    Of a slow disk a quarter: each of these answers waits.
    """
    rows = []
    for fault in FAULTS:
        for kind in SUBJECTS:
            with tempfile.TemporaryDirectory(prefix="audit-faults-") as place, kind(Path(place)) as subject:
                rows.append(_one(fault, subject, asked // 4 if fault == SLOW else asked))
    return rows


def figures(rows: list[Row]) -> list[Figure]:
    """What must be so of ours."""
    ours = [row for row in rows if row.is_ours]
    lost = sum(row.held.lost for row in ours)
    unreadable = sum(row.held.unreadable for row in ours)
    slowest = max(row.slowest_s for row in ours)
    return [
        Figure("secretsd: answers that are not on record", lost, "", 0, exactly=True),
        Figure("secretsd: unreadable lines", unreadable, "", 0, exactly=True),
        Figure(
            "secretsd: slowest answer in all faults",
            slowest,
            "s",
            _REFUSED_WITHIN_S,
            note="250 ms for the disk, and 100 to know it",
        ),
    ]  # fmt: skip


def syncs(asked: int) -> list[Figure]:
    """How often each of them syncs its trail for so many answers; what is not synced goes with the power."""
    found = []
    for kind in SUBJECTS:
        with tempfile.TemporaryDirectory(prefix="audit-syncs-") as place, kind(Path(place)) as subject:
            with syncs_counted(subject.pid, subject.path, Path(place) / "trace") as counts:
                assert all(subject.ask() for _ in range(asked))
            name, is_ours = kind.name, kind is not OpenBaoSubject
        what, goal = f"{name}: syncs of its trail in {asked} answers", asked if is_ours else None
        found.append(Figure(what, counts[0], "", goal, at_least=True))
    return found


def _one(fault: str, subject: Subject, asked: int) -> Row:
    assert all(subject.ask() for _ in range(asked)), "all is well before"
    with FAULTS[fault](subject):
        answers = [subject.asked() for _ in range(asked)]
        went_on = subject.goes_on()
    subject.reopen()
    back_s = _until_well(subject)
    assert all(subject.ask() for _ in range(asked)), "all is well after"
    done = sum(is_done for is_done, _ in answers)
    slowest_s = max(spent_s for _, spent_s in answers)
    return Row(fault, subject.name, asked, done, slowest_s, went_on, back_s, subject.held())


def _until_well(subject: Subject) -> float:
    began = time.monotonic()
    while not subject.ask():
        assert time.monotonic() - began < _BACK_S, "it is not well again"
        time.sleep(0.02)
    return time.monotonic() - began


if __name__ == "__main__":
    print(table(measure()))
