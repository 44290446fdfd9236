"""Who is next: no user and no key can keep the others waiting."""

from __future__ import annotations

from secretsd.signing.fair import FairQueue


def _free(_: str) -> bool:
    return False


def _all(queue: FairQueue[str]) -> list[str]:
    taken = []
    while (entry := queue.take(_free)) is not None:
        taken.append(entry)
    return taken


def test_a_user_with_a_thousand_entries_delays_another_by_one() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(1000):
        queue.put(1, "a", f"greedy {number}")
    queue.put(2, "a", "modest")
    assert queue.take(_free) == "greedy 0"
    assert queue.take(_free) == "modest"
    assert len(queue) == 999


def test_the_keys_of_one_user_take_turns() -> None:
    queue: FairQueue[str] = FairQueue()
    for entry in ("a1", "a2", "a3", "b1"):
        queue.put(1, entry[0], entry)
    assert _all(queue) == ["a1", "b1", "a2", "a3"]


def test_a_blocked_key_lets_the_same_users_other_keys_by() -> None:
    queue: FairQueue[str] = FairQueue()
    for entry in ("a1", "b1", "a2"):
        queue.put(1, entry[0], entry)
    assert queue.take(lambda key: key == "a") == "b1"
    assert queue.take(lambda key: key == "a") is None
    assert _all(queue) == ["a1", "a2"]


def test_what_is_taken_out_leaves_the_others_in_their_order() -> None:
    queue: FairQueue[str] = FairQueue()
    for entry in ("a1", "a2", "b1"):
        queue.put(1, entry[0], entry)
    queue.put(2, "a", "other")
    assert queue.remove_where(lambda entry: entry in ("a1", "other")) == ["a1", "other"]
    assert sorted(_all(queue)) == ["a2", "b1"]
    assert len(queue) == 0
