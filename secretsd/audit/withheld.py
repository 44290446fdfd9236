"""Refusals are on record up to a rate for each user, and counted beyond it. Pure.

Whoever has no right at all must not be able to fill the disk.
"""

from __future__ import annotations

from collections import Counter

from secretsd.audit import record
from secretsd.signing.buckets import Buckets, TokenBucket
from secretsd.signing.model import RateLimit

_ON_RECORD = RateLimit(10_000, 500.0)  # of one user: as many at once, then 20 a second
# Of all together, five times that: one person can have 65,536 users of a namespace (subuid(5)).
_OF_ALL = RateLimit(50_000, 500.0)
_MOST_NAMED = 64  # users that are counted by name between two tellings
_OTHERS = None


class Withheld:
    """Counts the refusals that no record has told of yet, by uid."""

    def __init__(self) -> None:
        self._buckets = Buckets()
        self._of_all = TokenBucket(_OF_ALL)
        self._counts: Counter[int | None] = Counter()

    def is_to_be_recorded(self, uid: int, now: float) -> bool:
        """Whether a refusal of this user gets a record at `now`, in monotonic seconds; else it is counted."""
        if self._buckets.bucket("", uid, _ON_RECORD).take(now) and self._of_all.take(now):
            return True
        is_named = uid in self._counts or len(self._counts) < _MOST_NAMED
        self._counts[uid if is_named else _OTHERS] += 1
        return False

    def told(self) -> list[str]:
        """The records that tell of what was only counted, which begins anew."""
        counts, self._counts = self._counts, Counter()
        return [
            record.event("withheld", result="refused", details={"uid": uid, "count": count})
            for uid, count in counts.items()
        ]
