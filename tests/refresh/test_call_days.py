"""Calls by day: nothing stays for ever, and a clock that was wrong does no lasting harm."""

from __future__ import annotations

from datetime import date, timedelta

from secretsd.refresh.source_book.call_days import KEPT_DAYS, Days, Tally, counted, of_day, of_last

TODAY = date(2026, 11, 24)


def test_calls_of_one_day_add_up_by_source_and_operation() -> None:
    days: Days = {}
    days = counted(days, TODAY, "aws", Tally(10.0, {"GetSecretValue": 1}))
    days = counted(days, TODAY, "aws", Tally(20.5, {"GetSecretValue": 2, "BatchGetSecretValue": 1}))
    days = counted(days, TODAY, "ssm", Tally(5.0, {"GetParameters": 4}))
    assert of_day(days, TODAY, "aws") == Tally(30.5, {"GetSecretValue": 3, "BatchGetSecretValue": 1})
    assert of_day(days, TODAY, "ssm") == Tally(5.0, {"GetParameters": 4})
    assert of_day(days, TODAY, "nobody") == Tally()


def test_the_last_days_are_a_sum_that_knows_for_how_long_it_was_seen() -> None:
    days: Days = {}
    for back in range(10):
        days = counted(days, TODAY - timedelta(days=9 - back), "aws", Tally(3600.0, {"GetSecretValue": 10}))
    assert of_last(days, TODAY, "aws", 7) == Tally(7 * 3600.0, {"GetSecretValue": 70})
    assert of_last(days, TODAY + timedelta(days=6), "aws", 7) == Tally(3600.0, {"GetSecretValue": 10})


def test_days_grow_old_and_those_of_a_clock_that_was_ahead_do_not_stay() -> None:
    days: Days = {}
    for number in range(100):
        days = counted(days, TODAY + timedelta(days=number), "aws", Tally(1.0, {"GetSecretValue": 1}))
    assert len(days) == KEPT_DAYS
    days = counted(days, TODAY + timedelta(days=70), "aws", Tally(1.0, {}))
    assert max(days) == (TODAY + timedelta(days=70)).isoformat()
    assert of_day(days, TODAY + timedelta(days=70), "aws") == Tally(2.0, {"GetSecretValue": 1})
