"""Refusals in a row, and who asks for many names that are not theirs. Pure; seconds are monotonic.

Of a name that was asked for only a keyed hash of this process is kept, to tell it from others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from secretsd.config.unusual import Unusual
from secretsd.unusual.findings import OTHERS, Finding

MOST_ACTORS = 1024  # all beyond share one row
PROBE_S = 600
_SILENCE_S = 3600.0  # after which a row begins anew


@dataclass(slots=True)
class Row:
    """One actor's refusals."""

    new: int = 0  # since it was judged last
    count: int = 0  # in a row
    is_told: bool = False  # that it is long
    last_s: float = float("-inf")
    new_names: set[int] = field(default_factory=set)  # since it was judged last
    names: set[int] = field(default_factory=set)  # of this window
    window_began_s: float = float("-inf")
    is_probe_told: bool = False


class Refusals:
    """Of all actors; does not grow with them."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._touched: set[str] = set()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def is_touched(self) -> bool:
        """Whether there is anything to be judged."""
        return bool(self._touched)

    def add(self, who: str, name: str | None, settings: Unusual) -> None:
        """`who` was refused; `name` is what it has no right to, None where the refusal is about no name."""
        if who not in self._rows and len(self._rows) >= MOST_ACTORS:
            who = OTHERS
        row = self._rows.get(who)
        if row is None:
            row = self._rows[who] = Row()
        row.new += 1
        if name is not None and len(row.new_names) < settings.probe:
            row.new_names.add(hash(name))  # SipHash, with a key that Python makes for each process
        self._touched.add(who)

    def judge(self, used: Collection[str], settings: Unusual, now_s: float) -> Iterator[Finding]:
        """What is unusual since the last time; `used` are who was allowed something meanwhile."""
        for who in used:
            if (row := self._rows.get(who)) is not None:
                row.count, row.new, row.is_told = 0, 0, False
        touched, self._touched = self._touched, set()
        for who in sorted(touched):
            row = self._rows[who]
            yield from _long_row(who, row, settings, now_s)
            yield from _probe(who, row, settings, now_s)
            row.last_s = now_s
        if len(self._rows) >= MOST_ACTORS:
            self._rows = {who: row for who, row in self._rows.items() if now_s - row.last_s < _SILENCE_S}


def _long_row(who: str, row: Row, settings: Unusual, now_s: float) -> Iterator[Finding]:
    if now_s - row.last_s >= _SILENCE_S:
        row.count, row.is_told = 0, False
    row.count, row.new = row.count + row.new, 0
    if row.count >= settings.refusals and not row.is_told:
        row.is_told = True
        yield Finding("refusals", who, row.count)


def _probe(who: str, row: Row, settings: Unusual, now_s: float) -> Iterator[Finding]:
    if now_s - row.window_began_s >= PROBE_S:
        # A window in which it has asked for few names ends a probe.
        row.is_probe_told &= len(row.names) >= settings.probe
        row.names, row.window_began_s = set(), now_s
    if len(row.names) < settings.probe:
        row.names |= row.new_names
    row.new_names = set()
    if len(row.names) >= settings.probe and not row.is_probe_told:
        row.is_probe_told = True
        yield Finding("probe", who, len(row.names), window_s=PROBE_S)
