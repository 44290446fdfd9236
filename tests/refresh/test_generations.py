"""Which generations a rollback finds, whatever was published, repaired and interrupted before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from secretsd.refresh.files.generations import EARLIER_CONTENTS, to_keep


def test_what_is_shown_and_the_last_contents_before_it_stay() -> None:
    digests = dict(enumerate("abcdef", 1))
    assert to_keep(6, digests.keys(), digests) == {3, 4, 5, 6}


def test_a_content_that_is_repaired_again_and_again_does_not_push_out_the_one_to_go_back_to() -> None:
    digests = {1: "old", **dict.fromkeys(range(2, 30), "now")}
    assert to_keep(29, digests.keys(), digests) == {1, 28, 29}


def test_what_was_never_shown_is_no_content_to_go_back_to() -> None:
    digests = {1: "a", 2: "b", 3: "never shown", 4: "c"}
    assert to_keep(4, digests.keys(), digests, before=2) == {1, 2, 4}


def test_a_generation_without_a_record_is_kept_only_for_who_reads_it_now() -> None:
    assert to_keep(3, {1, 2, 3}, {3: "c"}) == {2, 3}


def test_a_number_beyond_what_is_shown_goes() -> None:
    assert to_keep(2, {1, 2, 3}, {1: "a", 2: "b", 3: "c"}) == {1, 2}


@given(st.dictionaries(st.integers(1, 30), st.sampled_from("abcde"), min_size=1))
def test_each_content_that_stays_is_the_newest_copy_of_it(digests: dict[int, str]) -> None:
    shown = max(digests)
    keep = to_keep(shown, digests.keys(), digests)
    before = max((number for number in digests if number < shown), default=shown)
    earlier = keep - {shown, before}
    assert {shown, before} <= keep
    assert len(earlier) <= EARLIER_CONTENTS
    for number in earlier:
        newer = [other for other in digests if number < other < shown and digests[other] == digests[number]]
        assert not newer
        assert digests[number] != digests[shown]
