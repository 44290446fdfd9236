"""What a push that is healthy, and one that is not, does to the intervals."""

from __future__ import annotations

from secretsd.refresh.push.state import SPREAD_S, PushState, due_at

NOW = 10_000.0


def healthy(interval_s: float = 1800.0, *, since: float = 0.0) -> PushState:
    return PushState(interval_s, is_healthy=True, changed=since, since=1.0)


def silent(*, since: float) -> PushState:
    return PushState(1800.0, is_healthy=False, changed=since, since=1.0)


def due(*pushes: PushState | None, next_due: float = NOW, **changes: float | None) -> float:
    given: dict[str, float | None] = {
        "interval_s": 300.0, "confirmed": NOW - 300, "dice": 0.5, "slowest_s": float("inf"), **changes
    }  # fmt: skip
    return due_at(next_due, pushes=pushes, **given)  # type: ignore[arg-type]


def test_a_healthy_push_of_every_source_slows_polling() -> None:
    assert due(healthy()) == NOW + 1500
    assert due(healthy(), healthy(600.0)) == NOW + 300
    assert due(healthy(60.0)) == NOW, "never oftener than the bundle's own interval"


def test_one_source_without_push_keeps_the_own_interval() -> None:
    assert due(healthy(), None) == NOW
    assert due(None) == NOW


def test_what_was_not_confirmed_since_the_push_is_healthy_is_not_slowed() -> None:
    assert due(healthy(since=NOW - 100)) == NOW, "what was told before that may be lost"
    assert due(healthy(), confirmed=None) == NOW, "nor what fails, or was never fetched"


def test_a_bundle_that_may_not_be_old_is_not_slowed_beyond_that() -> None:
    assert due(healthy(), slowest_s=450.0) == NOW + 150


def test_when_the_push_falls_silent_what_is_overdue_comes_soon_and_not_all_at_once() -> None:
    fallen = NOW + 1000
    assert due(silent(since=fallen), dice=0.0) == fallen
    assert due(silent(since=fallen), dice=0.9) == fallen + 0.9 * SPREAD_S
    assert due(silent(since=NOW - 1000)) == NOW, "what is not due yet keeps its time"
    assert due(healthy(), silent(since=fallen), dice=0.0) == fallen


def test_a_push_that_never_answered_changes_nothing() -> None:
    assert due(PushState(1800.0)) == NOW
