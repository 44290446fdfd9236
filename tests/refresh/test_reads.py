"""Which reads get a line of their own: nothing is said twice, and nothing is left out."""

from __future__ import annotations

from secretsd.errors import FailureClass
from secretsd.model import SecretRead, SecretRef
from secretsd.refresh.reads import IN_FULL_EVERY_S, Outcome, Reads
from tests.refresh.fakes import failure

A, B = SecretRef("aws", "a"), SecretRef("aws", "b")
OK = Outcome("ok")


def read(ref: SecretRef, version: str = "v1") -> SecretRead:
    return SecretRead(ref, version)


def test_the_first_read_is_news_and_the_next_is_not() -> None:
    reads = Reads()
    assert reads.sorted([read(A), read(B)], 0.0) == ([read(A), read(B)], {})
    assert reads.sorted([read(A), read(B)], 300.0) == ([], {OK: ["a", "b"]})


def test_another_version_another_failure_and_the_end_of_one_are_news() -> None:
    reads = Reads()
    away = SecretRead(A, failure=failure())
    denied = SecretRead(A, failure=failure(FailureClass.REFUSAL))
    for news in (read(A), read(A, "v2"), away, denied, read(A, "v2"), read(A)):
        assert reads.sorted([news], 0.0) == ([news], {})
    reads.sorted([away], 0.0)
    assert reads.sorted([away], 1.0) == ([], {Outcome("failed", "fake-transient"): ["a"]})


def test_once_a_day_all_is_said_in_full() -> None:
    """Or nobody could take old files away."""
    reads = Reads()
    reads.sorted([read(A)], 0.0)
    assert reads.sorted([read(A)], IN_FULL_EVERY_S - 1) == ([], {OK: ["a"]})
    assert reads.sorted([read(A)], IN_FULL_EVERY_S) == ([read(A)], {})


def test_what_was_said_ahead_of_its_publish_is_not_counted_again() -> None:
    reads = Reads()
    assert reads.early([read(A)], 0.0) == [read(A)]
    assert reads.sorted([read(A), read(B)], 0.1) == ([read(B)], {})
    assert reads.early([read(A)], 1.0) == []
    assert reads.sorted([read(A), read(B)], 1.1) == ([], {OK: ["a", "b"]})


def test_a_look_that_says_no_version_is_no_other_version() -> None:
    reads = Reads()
    reads.sorted([read(A)], 0.0)
    assert reads.sorted([SecretRead(A)], 1.0) == ([], {OK: ["a"]})
    assert reads.sorted([read(A)], 2.0) == ([], {OK: ["a"]})
