"""What ends a rollback, what it goes back to, and what is fetched after a reboot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from secretsd.errors import Failure, FailureClass
from secretsd.model import Hold, PublishRecord, SecretRef, SecretVersion, Showing
from secretsd.refresh.hold import (
    new_rollback,
    of_a_pinned_version,
    pinned,
    rollback_target,
    supersedes,
)
from tests.refresh.fakes import bundle

REF = SecretRef("aws", "prod/bot")


def version(name: str, created_at: float | None = None) -> SecretVersion:
    return SecretVersion(REF, name, created_at)


def record(generation: int, digest: str, name: str = "v1", created_at: float | None = None) -> PublishRecord:
    versions = (version(name, created_at),)
    return PublishRecord("bot", generation, 1.0, 1.0, digest, versions, ("TOKEN",), (), ())


def rolled_back(good: SecretVersion, bad: SecretVersion) -> Hold:
    target = replace(record(1, "a"), versions=(good,))
    return new_rollback(target, record(2, "b"), refused=(bad,), now=1.0, by="uid 0", reason="")


@pytest.mark.parametrize(
    ("found", "ends"),
    [
        (version("bad", 20.0), False),
        (version("good", 10.0), False),
        (version("older", 5.0), False),
        (version("newer", 30.0), True),
        (version("of the same second", 20.0), True),
        (version("undated"), True),
        (SecretVersion(SecretRef("aws", "other"), "x", 99.0), False),
    ],
)
def test_only_a_version_newer_than_the_one_rolled_back_from_ends_a_rollback(
    found: SecretVersion, ends: bool
) -> None:
    assert supersedes([found], rolled_back(version("good", 10.0), version("bad", 20.0))) is ends


def test_where_versions_have_no_dates_a_third_one_is_newer() -> None:
    hold = rolled_back(version("good"), version("bad"))
    found = [supersedes([version(name)], hold) for name in ("good", "bad", "third")]
    assert found == [False, False, True]


def test_a_pinned_version_is_still_the_same_secret() -> None:
    pinned_ref = replace(REF, version="good")
    hold = replace(
        rolled_back(version("good"), version("bad")), pinned=(SecretVersion(pinned_ref, "good", None),)
    )
    assert not supersedes([version("good")], hold)


def test_after_a_reboot_the_very_versions_are_fetched() -> None:
    wanted = pinned(bundle(), [version("good")])
    assert [secret.ref for secret in wanted.secrets] == [replace(REF, version="good")]
    assert wanted.variables == bundle().variables


KEPT = {number: record(number, digest) for number, digest in {1: "a", 2: "b", 3: "c", 4: "c"}.items()}


def target(shown: int, to: int | None = None, history: tuple[Showing, ...] = ()) -> object:
    found = rollback_target(KEPT, KEPT[shown], history, to)
    return found if isinstance(found, str) else found.generation


def test_a_rollback_goes_to_the_last_other_content() -> None:
    assert target(2) == 1
    assert target(3) == 2


def test_a_second_rollback_goes_further_back_and_not_to_what_was_bad() -> None:
    kept = {1: record(1, "a"), 3: record(3, "bad"), 4: record(4, "b")}
    history = (Showing(4, 1.0, "it was rolled back", (), copy_of=2),)
    found = rollback_target(kept, kept[4], history, None)
    assert isinstance(found, PublishRecord)
    assert found.generation == 1


def test_a_repair_in_between_does_not_change_where_a_rollback_goes() -> None:
    kept = {1: record(1, "a"), 2: record(2, "bad"), 5: record(5, "bad")}
    history = (Showing(5, 1.0, "its published files were altered", (), copy_of=2),)
    found = rollback_target(kept, kept[5], history, None)
    assert isinstance(found, PublishRecord)
    assert found.generation == 1


def test_where_it_cannot_go_it_says_where_it_can() -> None:
    assert target(1) == "no earlier content is kept on this host"
    assert target(4, to=9) == "generation 9 is not kept on this host; to go back to: 1, 2"
    assert target(4, to=3) == "generation 3 has the content that is published, as 4"
    assert target(4, to=1) == 1


def test_a_generation_of_which_only_a_copy_is_kept_can_still_be_named() -> None:
    kept = {2: record(2, "bad"), 5: record(5, "a"), 6: record(6, "b")}
    history = (
        Showing(4, 1.0, "its published files were altered", (), copy_of=1),
        Showing(5, 2.0, "it was rolled back", (), copy_of=4),
    )
    for to in (1, 4, 5):
        assert rollback_target(kept, kept[6], history, to) == kept[5]
    shown = rollback_target(kept, kept[5], history, 1)
    assert shown == "generation 1 has the content that is published, as 5"
    assert isinstance(rollback_target(kept, kept[6], history, 3), str), "and no other"


@pytest.mark.parametrize(
    ("code", "failure_class", "is_gone"),
    [
        ("secret-missing", FailureClass.REFUSAL, True),
        ("secret-empty", FailureClass.DATA, True),  # its secret is there, and not this version of it
        ("unreachable", FailureClass.TRANSIENT, False),
        ("rule-broken", FailureClass.DATA, False),
    ],
)
def test_a_held_version_that_is_gone_is_told_with_the_way_out(
    code: str, failure_class: FailureClass, is_gone: bool
) -> None:
    failure = Failure(code, failure_class, "it did not come", "do this", "prod/bot")
    told = of_a_pinned_version("bot", failure)
    assert ("secretsctl resume bot" in told.advice) is is_gone
    assert (told == failure) is not is_gone
