"""Token buckets: how often a peer may use a key. Pure."""

from __future__ import annotations

from collections import OrderedDict

from secretsd.signing.model import RateLimit

_MOST_BUCKETS = 4096


class TokenBucket:
    """As many uses at once as the limit counts, then refilled at its rate. Times are monotonic seconds."""

    __slots__ = ("_count", "_left", "_per_s", "_seen_s")

    def __init__(self, limit: RateLimit) -> None:
        self._count = float(limit.count)
        self._per_s = limit.count / limit.period_s
        self._left = self._count
        self._seen_s = 0.0

    def take(self, now_s: float) -> bool:
        """Whether one more use is within the limit now."""
        if now_s > self._seen_s:
            self._left = min(self._count, self._left + (now_s - self._seen_s) * self._per_s)
            self._seen_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Buckets:
    """One bucket for each key and user of it, whichever of its connections asks.

    A reload keeps them, but for those of a key whose limit was changed: nobody gains a full bucket by it.
    """

    def __init__(self) -> None:
        self._buckets: OrderedDict[tuple[str, str, RateLimit], TokenBucket] = OrderedDict()

    def of(self, key: str, user: str, limit: RateLimit) -> TokenBucket:
        """The bucket of `user`, the name of a unit or a uid, for `key`."""
        name = (key, user, limit)
        bucket = self._buckets.get(name)
        if bucket is None:
            if len(self._buckets) >= _MOST_BUCKETS:
                self._buckets.popitem(last=False)
            bucket = self._buckets[name] = TokenBucket(limit)
        self._buckets.move_to_end(name)
        return bucket
