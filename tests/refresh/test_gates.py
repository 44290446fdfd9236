from __future__ import annotations

import itertools
from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from secretsd.config.on_change import OnChange
from secretsd.refresh.units.gates import (
    HOUR_S,
    Go,
    Reason,
    WaitUntil,
    gate,
    look_again_s,
    recent,
    stagger_delay_s,
)

UNIT = "bot.service"
HOST = "trader-1"


def at(text: str) -> float:
    return datetime.fromisoformat(f"{text}+00:00").timestamp()


MONDAY = at("2026-11-23 12:00:00")


def entry(**keys: object) -> OnChange:
    return OnChange.model_validate({"unit": UNIT, "action": "restart", **keys})


def judged(
    now: float, *, published_at: float = MONDAY, restarts: tuple[float, ...] = (), **keys: object
) -> Go | WaitUntil:
    return gate(entry(**keys), bundle="bot", now=now, published_at=published_at, host=HOST, restarts=restarts)


def delay(stagger_s: float, host: str = HOST, unit: str = UNIT) -> float:
    return stagger_delay_s(stagger_s, host=host, bundle="bot", unit=unit)


def test_without_gates_a_unit_is_touched_at_once() -> None:
    assert judged(MONDAY) == Go()
    assert judged(MONDAY, restarts=(MONDAY,) * 100) == Go()
    assert not entry().is_gated
    gates: tuple[dict[str, Any], ...] = (
        {"windows": ["Sat"]},
        {"stagger": "1s"},
        {"max_restarts_per_hour": 1},
        {"before": ["/bin/true"]},
    )
    assert all(entry(**gate_).is_gated for gate_ in gates)


# Windows


def test_a_closed_window_says_when_it_opens() -> None:
    windows = ["Mon..Fri 21:00-22:30", "Sat"]
    assert judged(MONDAY, windows=windows) == WaitUntil(Reason.WINDOW, at("2026-11-23 21:00:00"))
    assert judged(at("2026-11-23 21:30:00"), windows=windows) == Go()
    assert judged(at("2026-11-27 23:00:00"), windows=windows) == WaitUntil(
        Reason.WINDOW, at("2026-11-28 00:00:00")
    )


# Stagger


def test_hosts_are_spread_evenly_over_the_stagger() -> None:
    delays = [delay(600, host=f"trader-{number}.example") for number in range(1000)]
    assert all(0 <= each < 600 for each in delays)
    tenths = Counter(int(each // 60) for each in delays)
    # 100 each, with a standard deviation of 9.5.
    assert all(60 <= tenths[tenth] <= 140 for tenth in range(10)), tenths
    gaps = [later - earlier for earlier, later in itertools.pairwise(sorted(delays))]
    assert max(gaps) < 10


def test_a_hosts_delay_is_always_the_same_and_not_that_of_its_other_units() -> None:
    assert delay(600) == delay(600)
    assert delay(600) != delay(600, unit="other.service")
    # Not Python's hash, which another process would salt otherwise; a figure that may never change.
    assert f"{delay(1.0):.6f}" == "0.922912"


def test_the_stagger_counts_from_the_publish() -> None:
    wait = WaitUntil(Reason.STAGGER, MONDAY + delay(600))
    assert judged(MONDAY, stagger="10m") == wait
    assert judged(MONDAY + delay(600) - 0.1, stagger="10m") == wait
    assert judged(MONDAY + delay(600), stagger="10m") == Go()
    assert judged(MONDAY + 86400, stagger="10m") == Go()


def test_hosts_that_all_wait_for_a_window_are_not_told_as_one_when_it_opens() -> None:
    keys: dict[str, Any] = {"windows": ["21:00-22:30"], "stagger": "10m"}
    opened = at("2026-11-23 21:00:00")
    assert judged(MONDAY, **keys) == WaitUntil(Reason.WINDOW, opened)
    assert judged(opened, **keys) == WaitUntil(Reason.STAGGER, opened + delay(600))
    assert judged(opened + delay(600), **keys) == Go()
    # Published while the window is open: from then.
    published = opened + 1800
    assert judged(published, published_at=published, **keys) == WaitUntil(
        Reason.STAGGER, published + delay(600)
    )


def test_a_clock_that_was_set_back_does_not_make_a_stagger_last() -> None:
    assert judged(MONDAY - 86400, stagger="10m") == Go()


# The limit on restarts


def test_the_limit_counts_what_lies_within_an_hour() -> None:
    restarts = (MONDAY - 5000, MONDAY - 3000, MONDAY - 1000)
    assert judged(MONDAY, restarts=restarts, max_restarts_per_hour=3) == Go()
    assert judged(MONDAY, restarts=restarts, max_restarts_per_hour=2) == WaitUntil(
        Reason.RESTART_LIMIT, MONDAY - 3000 + HOUR_S
    )
    assert judged(MONDAY, restarts=restarts, max_restarts_per_hour=1) == WaitUntil(
        Reason.RESTART_LIMIT, MONDAY - 1000 + HOUR_S
    )
    freed = MONDAY - 3000 + HOUR_S
    assert judged(freed, restarts=restarts, max_restarts_per_hour=2) == Go()


@pytest.mark.parametrize("jump_s", [-86400 * 365, -7200, 7200, 86400 * 365])
def test_a_clock_that_jumps_blocks_for_an_hour_at_most(jump_s: float) -> None:
    now, restarts = MONDAY + jump_s, (MONDAY - 10, MONDAY - 5)
    for _ in range(3):
        match judged(now, restarts=restarts, max_restarts_per_hour=2):
            case Go():
                return
            case WaitUntil(at=moment):
                assert moment is not None
                assert moment <= now + HOUR_S
                now = moment
    raise AssertionError("it blocks for ever")


def test_what_no_longer_counts_is_forgotten() -> None:
    assert recent((MONDAY + 1, MONDAY - 1, MONDAY - HOUR_S, MONDAY - 2), MONDAY) == (MONDAY - 2, MONDAY - 1)


# When it is looked at again


@pytest.mark.parametrize(
    ("wait", "refusals", "expected"),
    [
        (WaitUntil(Reason.WINDOW, MONDAY + 86400), 0, 60),
        (WaitUntil(Reason.WINDOW, MONDAY + 10), 0, 10),
        (WaitUntil(Reason.STAGGER, MONDAY - 10), 0, 0),
        (WaitUntil(Reason.WINDOW, None), 0, 60),
        (WaitUntil(Reason.BEFORE, None), 1, 5),
        (WaitUntil(Reason.BEFORE, None), 2, 10),
        (WaitUntil(Reason.BEFORE, None), 1000, 60),
    ],
)
def test_what_waits_is_looked_at_every_minute_and_when_its_time_has_come(
    wait: WaitUntil, refusals: int, expected: float
) -> None:
    assert look_again_s(wait, now=MONDAY, refusals=refusals) == expected


# Their order


def test_the_window_comes_first_then_the_stagger_then_the_limit() -> None:
    keys: dict[str, Any] = {"windows": ["21:00-22:30"], "stagger": "10m", "max_restarts_per_hour": 1}
    opened = at("2026-11-23 21:00:00")

    def reason(now: float) -> Reason:
        verdict = judged(now, restarts=(now - 1,), **keys)
        assert isinstance(verdict, WaitUntil)
        return verdict.reason

    assert reason(MONDAY) is Reason.WINDOW
    assert reason(opened) is Reason.STAGGER
    assert reason(opened + 600) is Reason.RESTART_LIMIT
    assert reason(at("2026-11-23 22:30:00")) is Reason.WINDOW
