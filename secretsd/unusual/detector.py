"""Finds what is unusual in what a daemon puts on record anyway. Pure: the caller says what time it is.

`note` is on the way of every signature and costs a tenth of a microsecond; all else happens in `judge`,
which is called soon after something was noted, and never while nothing is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from secretsd.config.unusual import Unusual
from secretsd.signing.buckets import TokenBucket
from secretsd.signing.model import RateLimit
from secretsd.unusual.findings import KINDS, Finding, Kind, Thing
from secretsd.unusual.refusals import Refusals
from secretsd.unusual.uses import Meter, Uses

# Of one kind: so many at once, then as many in an hour. A crowd must fill neither the trail nor a pager.
_ONE_BY_ONE = RateLimit(20, 3600.0)
SUMMARY_S = 60.0  # between two findings that stand for those that were only counted


class Detector:
    """Of one daemon. `wake` is called when the first thing is noted since the last judgement."""

    def __init__(self, settings: Unusual, wake: Callable[[], None] = lambda: None) -> None:
        self.counts: Counter[Kind] = Counter()  # findings since this start, told or not
        self.uses = Uses()
        self.wake = wake
        self._settings = settings
        self._refusals = Refusals()
        self._touched: list[Meter] = []
        self._age_s = 0.0
        self._one_by_one = {kind: TokenBucket(_ONE_BY_ONE) for kind in KINDS}
        self._untold: Counter[Kind] = Counter()
        self._summary_at_s = float("-inf")

    def configure(self, settings: Unusual, things: Iterable[Thing], age_s: float) -> None:
        """From now on. What was learned stays; of things that are new it is learned from now on."""
        self._settings, self._age_s = settings, age_s
        self.uses.expect(things, age_s)

    def meter(self, thing: Thing, who: str) -> Meter:
        """For `note`; who keeps it need not ask again. Only for an actor that may use the thing."""
        return self.uses.meter(thing, who, self._age_s)

    def note(self, meter: Meter) -> None:
        """One use."""
        if not meter.count:
            self._touched.append(meter)
            self.wake()
        meter.count += 1

    def used(self, things: Iterable[Thing], who: str) -> None:
        """One use of each."""
        for thing in things:
            self.note(self.meter(thing, who))

    def refused(self, who: str, name: str | None = None) -> None:
        """`who` was refused. `name` is what it has no right to, whether there is such a thing or not."""
        self._refusals.add(who, name, self._settings)
        self.wake()

    @property
    def pause_s(self) -> float | None:
        """How long until there may be something to judge; None while nothing is noted."""
        if self._touched or self._refusals.is_touched:
            return 0.0
        return SUMMARY_S if self._untold else None

    def judge(self, age_s: float) -> list[Finding]:
        """What is to be told now. `age_s` never goes back; clocks that are set do not move it."""
        self._age_s = age_s
        touched, self._touched = self._touched, []
        used = {meter.who for meter in touched}
        found = [
            *self.uses.judge(touched, self._settings, age_s),
            *self._refusals.judge(used, self._settings, age_s),
        ]
        self.counts.update(finding.kind for finding in found)
        told = [finding for finding in found if self._is_told(finding, age_s)]
        return [*told, *self._summaries(age_s)]

    def _is_told(self, finding: Finding, age_s: float) -> bool:
        if self._one_by_one[finding.kind].take(age_s):
            return True
        self._untold[finding.kind] += 1
        return False

    def _summaries(self, age_s: float) -> Iterator[Finding]:
        if self._untold and age_s - self._summary_at_s >= SUMMARY_S:
            self._summary_at_s = age_s
            untold, self._untold = self._untold, Counter()
            for kind, count in sorted(untold.items()):
                yield Finding(kind, "", count)
