from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretsd.errors import FailureClass
from secretsd.refresh.schedule import MOST_BUNDLES, MOST_SECRETS, goes_along, next_due, portion, retry_delay
from tests.refresh.fakes import failure

dice = st.floats(0, 1, exclude_max=True)
SOON = [FailureClass.TRANSIENT, FailureClass.IDENTITY, FailureClass.IO]


def due(failures: tuple[FailureClass, ...] = (), attempts: int = 0, die: float = 0.5) -> float:
    return next_due(
        now=100.0,
        interval_s=300.0,
        jitter_s=30.0,
        failures=tuple(map(failure, failures)),
        attempts=attempts,
        dice=die,
    )


@given(dice)
def test_jitter_only_ever_adds(die: float) -> None:
    assert 400.0 <= due(die=die) <= 430.0


@given(dice, st.integers(0, 10_000))
def test_an_outage_neither_hammers_the_source_nor_waits_longer_than_usual(die: float, attempts: int) -> None:
    for failure_class in SOON:
        assert 101.0 <= due((failure_class,), attempts, die) <= 430.0


def test_the_first_retry_of_an_outage_comes_within_seconds() -> None:
    assert all(due((failure_class,), 1, 0.999) <= 105.0 for failure_class in SOON)


@pytest.mark.parametrize("failure_class", [FailureClass.REFUSAL, FailureClass.DATA])
def test_what_only_an_operator_can_mend_is_asked_for_at_the_usual_pace(failure_class: FailureClass) -> None:
    assert due((failure_class,), 1, 0.0) == 400.0


def test_one_transient_failure_among_refusals_is_retried_soon() -> None:
    assert due((FailureClass.REFUSAL, FailureClass.TRANSIENT), 1) <= 105.0


@given(dice, st.integers(-5, 10**9))
def test_a_backoff_is_bounded_however_long_it_lasts(die: float, attempts: int) -> None:
    assert 1.0 <= retry_delay(attempts, die, first_s=2.0) <= 300.0


def test_a_backoff_grows() -> None:
    delays = [retry_delay(attempt, 0.999, first_s=2.0) for attempt in range(1, 12)]
    assert delays == sorted(delays)
    assert delays[0] < 2.0
    assert delays[-1] > 299.0


@given(st.floats(1, 1e5), st.floats(0, 1, exclude_max=True))
def test_of_two_parted_bundles_one_goes_along_with_the_other(interval_s: float, apart: float) -> None:
    first, second = 1000.0, 1000.0 + apart * interval_s
    at_the_first = goes_along(due=second, now=first, interval_s=interval_s)
    at_the_second = goes_along(due=first + interval_s, now=second, interval_s=interval_s * 1.000001)
    assert at_the_first or at_the_second


def test_what_was_just_refreshed_does_not_go_along() -> None:
    assert not goes_along(due=1300.0, now=1001.0, interval_s=300.0)


def test_a_round_is_as_large_as_its_worker_can_do_and_a_bundle_beyond_that_goes_alone() -> None:
    secrets = {"a": MOST_SECRETS // 2, "b": MOST_SECRETS // 2, "c": 1, "huge": 2 * MOST_SECRETS}
    assert portion(["a", "b", "c"], secrets) == {"a", "b"}
    assert portion(["c", "a", "b"], secrets) == {"c", "a"}
    assert portion(["huge", "a"], secrets) == {"huge"}
    assert portion([], secrets) == frozenset()
    small = {f"bundle-{number}": 1 for number in range(2 * MOST_BUNDLES)}
    assert portion(list(small), small) == set(list(small)[:MOST_BUNDLES])
