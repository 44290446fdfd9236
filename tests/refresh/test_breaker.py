"""An endpoint that is silent is asked more and more seldom, and forgiven at its first answer."""

from __future__ import annotations

import pytest

from secretsd.refresh.source_book.breaker import Breaker


def failed(times: int, *, dice: float = 1.0, longest_s: float = 300.0) -> Breaker:
    breaker = Breaker()
    for _ in range(times):
        breaker = breaker.failed("server-error", now=100.0, wall=5000.0, dice=dice, longest_s=longest_s)
    return breaker


def test_the_wait_doubles_up_to_its_limit() -> None:
    waits = [failed(times).retry_at - 100.0 for times in range(1, 9)]
    assert waits == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]


@pytest.mark.parametrize(("dice", "wait_s"), [(0.0, 1.0), (0.25, 10.0), (1.0, 40.0)])
def test_the_jitter_is_full(dice: float, wait_s: float) -> None:
    assert failed(4, dice=dice).retry_at - 100.0 == wait_s


def test_nobody_waits_longer_than_the_interval_of_who_wants_it() -> None:
    assert failed(9, longest_s=2.0).retry_at - 100.0 == 2.0
    assert failed(1, longest_s=2.0).retry_at - 100.0 == 2.0


def test_one_failure_is_no_outage_two_are() -> None:
    assert not failed(0).wants_caution
    assert not failed(1).wants_caution
    assert failed(2).wants_caution


def test_an_outage_is_as_old_as_its_first_failure() -> None:
    later = failed(1).failed("unreachable", now=200.0, wall=6000.0, dice=0.5, longest_s=300.0)
    assert (later.since, later.code, later.failures) == (5000.0, "unreachable", 2)


def test_one_answer_ends_it() -> None:
    assert failed(9).answered() == Breaker()
    assert failed(9).answered().is_closed
