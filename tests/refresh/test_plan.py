from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretsd.errors import FailureClass
from secretsd.model import Hold, PublishRecord, Rejected, SecretRef, SecretVersion
from secretsd.refresh.plan import (
    KeepHeld,
    KeepPublished,
    KeepStale,
    NotifyUnit,
    Observed,
    PublishBundle,
    RemoveBundle,
    RestoreBundle,
    Step,
    plan,
)
from tests.refresh.fakes import bundle, candidate, failure

NOW = 1000.0
TOLD = {"unit": "bot.service", "action": "reload"}
BOT = bundle(on_change=[TOLD])
ALL = {"bot.service": 3}


def record(generation: int, digest: str = "d1") -> PublishRecord:
    return PublishRecord("bot", generation, 1.0, 1.0, digest, (), ("TOKEN",), (), ())


def steps(seen: Observed, desired: object = BOT, now: float = NOW) -> tuple[Step, ...]:
    return plan({"bot": desired}, {"bot": seen}, now)  # type: ignore[dict-item]


def test_a_first_candidate_is_published_and_told() -> None:
    assert steps(Observed(result=candidate())) == (
        PublishBundle("bot", 1, "it is not published yet"),
        NotifyUnit("bot", 1, "bot.service", "reload"),
    )


def test_identical_content_is_neither_rewritten_nor_told() -> None:
    seen = Observed(record(3), last_generation=3, result=candidate(), loaded={"bot.service": 3})
    assert steps(seen) == (KeepPublished("bot"),)


def test_altered_files_are_republished_although_the_content_is_the_same() -> None:
    seen = Observed(record(3), intact=False, last_generation=3, result=candidate())
    assert steps(seen)[0] == PublishBundle("bot", 4, "its published files were altered")


def test_a_crash_between_publish_and_notify_is_a_step_still_to_do() -> None:
    seen = Observed(record(3), last_generation=3, loaded={"bot.service": 2})
    assert steps(seen) == (NotifyUnit("bot", 3, "bot.service", "reload"),)


def test_a_crash_between_publish_and_notify_is_still_to_do_while_the_source_is_down() -> None:
    seen = Observed(record(3), last_generation=3, result=Rejected("bot", (failure(),)))
    assert steps(seen) == (
        KeepStale("bot", (failure(),)),
        NotifyUnit("bot", 3, "bot.service", "reload"),
    )


def test_a_number_that_was_given_before_a_crash_is_never_given_again() -> None:
    seen = Observed(record(5), last_generation=7, result=candidate(digest="d2"))
    assert steps(seen)[0] == PublishBundle("bot", 8, "its content changed")


def test_a_unit_that_failed_is_not_hammered() -> None:
    seen = Observed(record(3), last_generation=3, retry_at={"bot.service": NOW + 0.1})
    assert steps(seen) == ()
    assert steps(seen, now=NOW + 0.1) == (NotifyUnit("bot", 3, "bot.service", "reload"),)


def test_one_unit_that_waits_does_not_hold_up_the_others() -> None:
    two = bundle(on_change=[TOLD, {"unit": "b.service", "action": "restart"}])
    seen = Observed(record(3), last_generation=3, retry_at={"bot.service": NOW + 60})
    assert steps(seen, two) == (NotifyUnit("bot", 3, "b.service", "restart"),)


def test_a_unit_that_is_not_to_be_told_is_left_alone_unless_it_must_acknowledge() -> None:
    seen = Observed(record(3), last_generation=3)
    quiet = {"unit": "bot.service", "action": "none"}
    assert steps(seen, bundle(on_change=[quiet])) == ()
    assert steps(seen, bundle(on_change=[{**quiet, "require_ack": True}])) == (
        NotifyUnit("bot", 3, "bot.service", "none"),
    )


@pytest.mark.parametrize("published", [None, record(3)])
def test_a_failed_bundle_is_kept_and_nobody_is_told_of_nothing(published: PublishRecord | None) -> None:
    seen = Observed(
        published,
        last_generation=3,
        loaded={"bot.service": 3},
        result=Rejected("bot", (failure(FailureClass.DATA),)),
    )
    assert steps(seen) == (KeepStale("bot", (failure(FailureClass.DATA),)),)


def test_only_an_authoritative_refusal_withdraws() -> None:
    careful = bundle(on_refusal="withdraw", on_change=[TOLD])
    for failure_class in FailureClass:
        rejected = Rejected("bot", (failure(), failure(failure_class)))
        first, *others = steps(Observed(record(3), last_generation=3, result=rejected), careful)
        if failure_class is FailureClass.REFUSAL:
            assert isinstance(first, RemoveBundle)
            assert others == []
        else:
            assert isinstance(first, KeepStale)


def test_a_refusal_keeps_the_last_good_generation_unless_the_bundle_says_otherwise() -> None:
    rejected = Rejected("bot", (failure(FailureClass.REFUSAL),))
    assert isinstance(steps(Observed(record(3), result=rejected))[0], KeepStale)


def test_what_the_configuration_no_longer_names_is_removed() -> None:
    gone = plan({}, {"bot": Observed(record(3))}, NOW)
    assert gone == (RemoveBundle("bot", "the configuration no longer names it"),)


def test_a_broken_bundle_changes_nothing_for_the_others() -> None:
    good = Observed(result=candidate("good"))
    bad = Observed(record(2), result=Rejected("bad", (failure(FailureClass.REFUSAL),)))
    alone = plan({"good": BOT}, {"good": good}, NOW)
    together = plan({"bad": BOT, "good": BOT}, {"bad": bad, "good": good}, NOW)
    assert tuple(step for step in together if step.bundle == "good") == alone


@given(
    published=st.none() | st.integers(1, 5),
    ahead=st.integers(0, 3),
    same=st.booleans(),
    intact=st.booleans(),
    result=st.sampled_from(["none", "candidate", *FailureClass]),
    loaded=st.integers(0, 8),
)
def test_whatever_was_seen_a_unit_is_told_exactly_of_what_it_lacks(
    published: int | None, ahead: int, same: bool, intact: bool, result: str, loaded: int
) -> None:
    outcomes = {"none": None, "candidate": candidate(digest="d1" if same else "d2")}
    outcome = outcomes[result] if result in outcomes else Rejected("bot", (failure(FailureClass(result)),))
    seen = Observed(
        record(published) if published else None,
        intact=intact,
        last_generation=(published or 0) + ahead,
        result=outcome,
        loaded={"bot.service": loaded},
    )
    found = steps(seen)
    publishing = [step for step in found if isinstance(step, PublishBundle)]
    telling = [step for step in found if isinstance(step, NotifyUnit)]
    showing = [step for step in found if isinstance(step, PublishBundle | RestoreBundle)]
    shown = showing[0].generation if showing else published
    # What is shown once more over altered files is the same content: who has loaded it has loaded it.
    same_content = bool(showing and published and (same or showing != publishing))
    lacks = loaded != published and loaded < (shown or 0) if same_content else loaded < (shown or 0)
    assert all(step.generation > seen.last_generation for step in showing)
    assert [step.generation for step in telling] == ([shown] if shown and lacks else [])
    assert steps(replace(seen)) == found


HELD = Hold("hold", 1.0, "uid 0", "", 3, "d1", ())
ROLLED = Hold("rollback", 1.0, "uid 0", "", 1, "d0", (), from_generation=3, refused=candidate().versions)


def test_what_an_operator_holds_is_not_published_over() -> None:
    seen = Observed(record(3), last_generation=3, result=candidate(digest="d2"), hold=HELD, loaded=ALL)
    assert steps(seen) == (KeepHeld("bot"),)


def test_a_hold_repairs_what_was_altered_from_the_copy_and_not_from_the_source() -> None:
    seen = Observed(record(3), intact=False, last_generation=3, result=candidate(digest="d2"), hold=HELD)
    assert steps(replace(seen, loaded=ALL)) == (
        KeepHeld("bot"),
        RestoreBundle("bot", 3, 4, "its published files were altered"),
    )


def test_a_rollback_that_was_decided_is_a_step_still_to_do_and_is_told() -> None:
    seen = Observed(record(3), last_generation=3, hold=ROLLED, loaded=ALL)
    told = NotifyUnit("bot", 4, "bot.service", "reload")
    assert steps(seen) == (RestoreBundle("bot", 1, 4, "it was rolled back"), told)
    for result in (candidate(), Rejected("bot", (failure(),))):
        assert steps(replace(seen, result=result))[1:] == (
            RestoreBundle("bot", 1, 4, "it was rolled back"),
            told,
        )


def test_a_rollback_that_is_done_stays_until_there_is_something_newer() -> None:
    seen = Observed(record(4, "d0"), last_generation=4, hold=ROLLED, loaded={"bot.service": 4})
    assert steps(replace(seen, result=candidate(digest="d1"))) == (KeepHeld("bot"),)
    newer = replace(
        candidate(digest="d2"), versions=(SecretVersion(SecretRef("aws", "prod/bot"), "v2", None),)
    )
    assert steps(replace(seen, result=newer))[0] == PublishBundle("bot", 5, "its source has a newer version")


def test_a_withdrawn_bundle_goes_also_if_it_is_held() -> None:
    withdraw = bundle(on_refusal="withdraw")
    refused = Rejected("bot", (failure(FailureClass.REFUSAL),))
    seen = Observed(record(3), last_generation=3, hold=HELD, result=refused)
    assert [type(step) for step in steps(seen, withdraw)] == [RemoveBundle]
