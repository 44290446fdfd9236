"""What doctor, status and its warnings say of a push in each of its states."""

from __future__ import annotations

from secretsd.control.push_report import push_check, push_document, push_warnings
from secretsd.errors import ExitCode, Failure, FailureClass
from secretsd.refresh.push.state import PushState

DENIED = Failure("access-denied", FailureClass.IDENTITY, "AWS denies it", "Allow it.")


def push(**fields: object) -> PushState:
    return PushState(1800.0, **fields)  # type: ignore[arg-type]


HEALTHY = push(is_healthy=True, since=1_770_000_000.0, last_message_at=1_770_000_100.0, hints=3)
SILENT = push(since=1_770_000_000.0)


def test_a_healthy_push_is_ok_and_warns_of_nothing() -> None:
    check = push_check("aws", HEALTHY)
    assert (check.check, check.state) == ("push aws", "ok")
    assert "came at 2026-02-02 02:41 UTC" in check.detail
    assert list(push_warnings({"aws": HEALTHY})) == []
    document = push_document(HEALTHY)
    assert document is not None
    assert (document["healthy"], document["hints"], document["failure"]) == (True, 3, None)
    assert push_document(None) is None


def test_a_silent_push_fails_the_check_and_is_warned_of_with_what_follows() -> None:
    check = push_check("aws", SILENT)
    assert (check.state, check.code, bool(check.fix)) == ("fail", ExitCode.UNAVAILABLE, True)
    (warning,) = push_warnings({"aws": SILENT})
    assert "own interval" in warning


def test_a_failure_is_told_with_its_advice_also_where_only_deleting_fails() -> None:
    for told in (push(failure=DENIED), push(is_healthy=True, since=1.0, deletion=DENIED)):
        check = push_check("aws", told)
        assert (check.state, check.code, check.fix) == ("fail", ExitCode.REFUSED, "Allow it.")
        (warning,) = push_warnings({"aws": told})
        assert warning.endswith("AWS denies it. Allow it.")


def test_a_push_that_has_only_just_begun_alarms_nobody() -> None:
    assert push_check("aws", push()).state == "warn"
    assert list(push_warnings({"aws": push()})) == []
