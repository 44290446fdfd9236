"""Refusals are on record up to a rate for each user, and counted beyond it. Pure.

Whoever has no right at all must not be able to fill the disk.
"""

from __future__ import annotations

from collections import Counter

from secretsd.audit import record
from secretsd.signing.buckets import Buckets
from secretsd.signing.model import RateLimit

_ON_RECORD = RateLimit(10_000, 500.0)  # of one user: as many at once, then 20 a second


class Withheld:
    """Counts the refusals that no record has told of yet, by uid."""

    def __init__(self) -> None:
        self._buckets = Buckets()
        self._counts: Counter[int] = Counter()

    def is_to_be_recorded(self, uid: int, now: float) -> bool:
        """Whether a refusal of this user gets a record at `now`, in monotonic seconds; else it is counted."""
        if self._buckets.bucket("", uid, _ON_RECORD).take(now):
            return True
        self._counts[uid] += 1
        return False

    def told(self) -> list[str]:
        """The records that tell of what was only counted, which begins anew."""
        counts, self._counts = self._counts, Counter()
        return [
            record.event("withheld", result="refused", details={"uid": uid, "count": count})
            for uid, count in counts.items()
        ]
