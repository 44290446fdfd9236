from __future__ import annotations

import pytest

from secretsd.signing.buckets import MAX_BUCKETS, Buckets, TokenBucket
from secretsd.signing.model import RateLimit


@pytest.mark.parametrize(("count", "period_s"), [(1, 1.0), (3, 1.0), (50, 1.0), (600, 60.0), (7, 3600.0)])
@pytest.mark.parametrize("start", [0.0, 1e-9, 12345.678, 1e9])
def test_so_many_at_once_and_not_one_more(count: int, period_s: float, start: float) -> None:
    bucket = TokenBucket(RateLimit(count, period_s))
    assert sum(bucket.take(start) for _ in range(2 * count)) == count
    step_s = period_s / count
    assert not bucket.take(start + 0.99 * step_s)
    assert bucket.take(start + 1.01 * step_s)
    assert not bucket.take(start + 1.02 * step_s)


def test_over_an_hour_no_more_than_the_rate() -> None:
    bucket = TokenBucket(RateLimit(10, 1.0))
    taken = sum(bucket.take(tick / 100) for tick in range(360_000))
    assert 35_990 <= taken <= 36_010


def test_a_long_rest_saves_up_no_more_than_one_burst() -> None:
    bucket = TokenBucket(RateLimit(5, 1.0))
    assert bucket.take(0.0)
    assert sum(bucket.take(1e6) for _ in range(20)) == 5


def test_refusals_cost_nothing() -> None:
    bucket = TokenBucket(RateLimit(1, 1.0))
    assert bucket.take(0.0)
    assert not any(bucket.take(tick / 1000) for tick in range(1, 999))
    assert bucket.take(1.0)


def test_many_peers_cannot_fill_the_memory_nor_refill_the_bucket_of_one() -> None:
    buckets, limit = Buckets(), RateLimit(1, 3600.0)
    spent = buckets.bucket("k", 4242, limit)
    assert spent.take(0.0)
    for uid in range(3 * MAX_BUCKETS):
        buckets.bucket("k", 100_000 + uid, limit)
    assert len(buckets) == MAX_BUCKETS
    assert not buckets.bucket("k", 4242, limit).take(1.0)
