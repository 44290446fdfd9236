"""How often a key may be used: a token bucket for each key and peer. Pure.

Each bucket is one number, the time at which it would be full again (the generic cell rate algorithm of
ITU-T I.371), so that a use costs a comparison and an addition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secretsd.signing.model import RateLimit

MAX_BUCKETS = 4096
_ROUNDING = 1e-3  # of a token: sums of fractions, years after boot, must not cost one


class TokenBucket:
    """`count` uses at once, then as many again in each period. Full at the start."""

    __slots__ = ("_period_s", "_step_s", "full_at_s")

    def __init__(self, limit: RateLimit) -> None:
        self._period_s = limit.period_s
        self._step_s = limit.period_s / limit.count
        self.full_at_s = float("-inf")

    def take(self, now: float) -> bool:
        """One use at `now`, monotonic seconds; False where the limit forbids it, which costs nothing."""
        full_at_s = max(self.full_at_s, now) + self._step_s
        if full_at_s - now > self._period_s + self._step_s * _ROUNDING:
            return False
        self.full_at_s = full_at_s
        return True


class Buckets:
    """The buckets of all keys and peers: at most `MAX_BUCKETS`, or who has many users could fill the memory.

    One that is thrown away begins anew as a full one. So the one that was full first goes: of those that
    have filled up meanwhile nothing is lost.
    """

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str | int], TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def bucket(self, key: str, who: str | int, limit: RateLimit) -> TokenBucket:
        """The bucket of one key and one peer, a unit's name or else a uid."""
        found = self._buckets.get((key, who))
        if found is None:
            if len(self._buckets) >= MAX_BUCKETS:
                del self._buckets[min(self._buckets, key=lambda each: self._buckets[each].full_at_s)]
            found = self._buckets[key, who] = TokenBucket(limit)
        return found
