"""How many calls each source took, by day of UTC, and for how long of it somebody counted. Pure.

A day on which the daemon ran for an hour has an hour's calls: what is said of a whole day has to know that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Annotated

from pydantic import Field

KEPT_DAYS = 40  # the longest month, and some

# What the file of counts may say: no figure of it is too large for the sums of a month.
_Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0, le=10**12)]


@dataclass(frozen=True, slots=True)
class Tally:
    """The calls of one source in some time."""

    seen_s: _Seconds = 0.0  # for how long they were counted
    calls: Mapping[str, _Count] = field(default_factory=dict)  # by the service's name of the operation


Days = Mapping[str, Mapping[str, Tally]]  # "2026-11-24" -> source


def counted(days: Days, today: date, source: str, tally: Tally) -> Days:
    """`days` with `tally` added to today's of `source`, without those that are too old or not yet here.

    A clock that was set wrong leaves days of the future behind; they would never grow old.
    """
    first = (today - timedelta(days=KEPT_DAYS - 1)).isoformat()
    kept = {day: sources for day, sources in days.items() if first <= day <= today.isoformat()}
    now = kept.get(today.isoformat(), {})
    return {**kept, today.isoformat(): {**now, source: _sum((now.get(source, Tally()), tally))}}


def of_day(days: Days, day: date, source: str) -> Tally:
    """What was counted of `source` on one day."""
    return days.get(day.isoformat(), {}).get(source, Tally())


def of_last(days: Days, today: date, source: str, count: int) -> Tally:
    """What was counted of `source` on the last `count` days, today's among them."""
    return _sum(of_day(days, today - timedelta(days=back), source) for back in range(count))


def _sum(tallies: Iterable[Tally]) -> Tally:
    seen_s, calls = 0.0, Counter[str]()
    for tally in tallies:
        seen_s += tally.seen_s
        calls.update(tally.calls)
    return Tally(seen_s, dict(calls))
