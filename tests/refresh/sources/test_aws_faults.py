"""Whatever the network and the service do: the class of the failure is right and the deadline holds."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from secretsd.errors import FailureClass
from secretsd.model import FetchedSecret
from secretsd.refresh.sources.aws.session import DEFAULT_TIMEOUTS, Timeouts
from secretsd.refresh.sources.clocks import Clocks
from secretsd.refresh.sources.interface import FetchFailure
from tests.refresh.sources.conftest import Open, refs, soon
from tests.refresh.sources.scripted_aws import (
    VERSION,
    Answer,
    ScriptedAws,
    arn,
    entry,
    error,
    honest,
    ok,
)

if TYPE_CHECKING:
    from secretsd.refresh.sources.aws.fetch import Outcome


def verdict(outcome: Outcome) -> tuple[str, FailureClass]:
    assert isinstance(outcome, FetchFailure), outcome
    return outcome.failure.code, outcome.failure.failure_class


def said(outcome: Outcome) -> str:
    assert isinstance(outcome, FetchFailure), outcome
    return outcome.failure.message


@pytest.mark.parametrize(
    "fault",
    [
        error("ThrottlingException", "Rate exceeded"),
        error("InternalServiceError", status=500),
        Answer(503, b"<html>busy</html>"),
        Answer(403, b"<html>a captive portal</html>"),
        Answer(302, b"", headers={"Location": "http://127.0.0.1:9/"}),
        Answer(200, b"<html>a captive portal</html>"),
        Answer(200, b""),
        Answer(0, b"", reset=True),
    ],
    ids=["throttled", "500", "503", "portal-403", "redirect", "portal-200", "nothing", "reset"],
)
@pytest.mark.parametrize("names", [("a",), ("a", "b")])
def test_a_passing_fault_is_repeated_and_passes(
    aws: ScriptedAws, open_source: Open, fault: Answer, names: tuple[str, ...]
) -> None:
    left = [fault, fault]
    aws.script = lambda operation, params: left.pop() if left else honest(operation, params)
    found = list(open_source().fetch(refs(*names), deadline=soon()))
    assert all(isinstance(outcome, FetchedSecret) for outcome in found)
    assert len(aws.requests) == 3


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (error("ThrottlingException"), "throttled"),
        (error("InternalServiceError", status=500), "server-error"),
        (error("AccessDeniedException", status=500), "server-error"),
        (Answer(502, b"<html>"), "server-error"),
        (Answer(403, b"<html>denied by a portal"), "incomplete-answer"),
        (Answer(404, b'{"message": "not AWS"}'), "incomplete-answer"),
        (Answer(400, b'["AccessDeniedException"]'), "incomplete-answer"),
        (Answer(400, b'{"__type": 7}'), "incomplete-answer"),
        (Answer(0, b"", reset=True), "unreachable"),
    ],
)
def test_a_lasting_fault_of_the_service_is_transient_for_all_and_never_a_refusal(
    aws: ScriptedAws, open_source: Open, fault: Answer, code: str
) -> None:
    aws.answer_in_turn(fault)
    found = list(open_source().fetch(refs("a", "b"), deadline=soon()))
    assert [verdict(outcome) for outcome in found] == [(code, FailureClass.TRANSIENT)] * 2
    assert len(aws.requests) == 5  # one policy: neither botocore nor a fallback multiplies it


@pytest.mark.parametrize("mode", ["standard", "legacy", "adaptive"])
def test_the_environment_cannot_switch_botocores_own_retries_on(
    aws: ScriptedAws, open_source: Open, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "9")
    monkeypatch.setenv("AWS_RETRY_MODE", mode)
    aws.answer_in_turn(error("InternalServiceError", status=500))
    list(open_source().fetch(refs("a"), deadline=soon()))
    assert len(aws.requests) == 5


@pytest.mark.parametrize(
    ("fault", "code", "failure_class"),
    [
        (error("ExpiredTokenException"), "expired-credentials", FailureClass.IDENTITY),
        (error("UnrecognizedClientException"), "unknown-credentials", FailureClass.IDENTITY),
        (
            error("InvalidSignatureException", "The request signature we calculated does not match"),
            "unknown-credentials",
            FailureClass.IDENTITY,
        ),
        (
            error(
                "InvalidSignatureException",
                "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z"
                " (20260101T001500Z - 5 min.)",
            ),
            "clock-skew",
            FailureClass.TRANSIENT,
        ),
    ],
)
def test_a_fault_of_identity_is_met_once_and_fails_every_secret(
    aws: ScriptedAws, open_source: Open, fault: Answer, code: str, failure_class: FailureClass
) -> None:
    aws.answer_in_turn(fault)
    found = list(open_source().fetch(refs(*(f"s{number}" for number in range(60))), deadline=soon()))
    assert [verdict(outcome) for outcome in found] == [(code, failure_class)] * 60
    assert len(aws.requests) == 1


def test_the_skew_of_the_clock_is_named(aws: ScriptedAws, open_source: Open) -> None:
    told = (
        "Signature not yet current: 20260101T002000Z is still later than 20260101T001000Z"
        " (20260101T000457Z + 5 min.)"
    )
    aws.answer_in_turn(error("InvalidSignatureException", told))
    (found,) = open_source().fetch(refs("a"), deadline=soon())
    assert isinstance(found, FetchFailure)
    assert found.failure.message.endswith("it is 15 min 3 s ahead of AWS's")


def test_the_skew_is_taken_from_the_date_when_the_message_has_none(
    aws: ScriptedAws, open_source: Open
) -> None:
    aws.answer_in_turn(
        error("InvalidSignatureException", "?", headers={"Date": "Thu, 01 Jan 2026 00:15:00 GMT"})
    )
    clocks = Clocks(time.monotonic, lambda: 1_767_225_600.0, lambda _: None)  # 2026-01-01T00:00:00Z
    (found,) = open_source(clocks=clocks).fetch(refs("a"), deadline=soon())
    assert verdict(found) == ("clock-skew", FailureClass.TRANSIENT)
    assert found.failure.message.endswith("it is 15 min behind AWS's")  # type: ignore[union-attr]


def test_no_listener_and_no_name_end_quickly_for_all(open_source: Open) -> None:
    with socket.socket() as taken:  # bound, never listening
        taken.bind(("127.0.0.1", 0))
        for url in (f"http://127.0.0.1:{taken.getsockname()[1]}", "http://no-such-host.invalid"):
            source = open_source(endpoint_url=url)
            found = list(source.fetch(refs(*(f"s{number}" for number in range(60))), deadline=soon()))
            assert [verdict(outcome) for outcome in found] == [("unreachable", FailureClass.TRANSIENT)] * 60
            assert all("(no connection: refused, or no such name)" in said(outcome) for outcome in found)
            assert sum(source.calls.values()) <= 5


def test_what_is_no_tls_is_told_as_tls(aws: ScriptedAws, open_source: Open) -> None:
    source = open_source(endpoint_url=aws.url.replace("http", "https"))
    (found,) = source.fetch(refs("a"), deadline=soon())
    assert verdict(found) == ("tls-failed", FailureClass.TRANSIENT)


def test_a_hang_ends_at_the_deadline_and_leaves_time_for_the_other_batches(
    aws: ScriptedAws, open_source: Open
) -> None:
    def script(operation: str, params: dict[str, Any]) -> Answer:
        answer = honest(operation, params)
        is_first = "s0" in params.get("SecretIdList", [])
        return Answer(answer.status, answer.body, delay_s=3.0) if is_first else answer

    aws.script = script
    source = open_source(timeouts=Timeouts(connect_s=0.1, read_s=0.3))
    started = time.monotonic()
    found = list(source.fetch(refs(*(f"s{number}" for number in range(60))), deadline=started + 1.5))
    assert time.monotonic() - started < 1.6
    assert [verdict(outcome)[0] for outcome in found if isinstance(outcome, FetchFailure)] == [
        "unreachable"
    ] * 20
    assert len([outcome for outcome in found if isinstance(outcome, FetchedSecret)]) == 40


def test_two_batches_of_ten_that_hang_do_not_fail_the_other_eight(
    aws: ScriptedAws, open_source: Open
) -> None:
    def script(operation: str, params: dict[str, Any]) -> Answer:
        answer = honest(operation, params)
        hangs = {"s0", "s100"} & set(params["SecretIdList"])
        return Answer(answer.status, answer.body, delay_s=5.0) if hangs else answer

    aws.script = script
    source = open_source(timeouts=DEFAULT_TIMEOUTS)
    # What a worker has. With a full read timeout each, the two would take all of it.
    found = list(source.fetch(refs(*(f"s{number}" for number in range(200))), deadline=soon(7.0)))
    failed = [outcome for outcome in found if isinstance(outcome, FetchFailure)]
    assert [verdict(outcome) for outcome in failed] == [("unreachable", FailureClass.TRANSIENT)] * 40
    assert len(found) - len(failed) == 160
    assert len(aws.requests) == 10


def test_a_slow_answer_is_waited_for_though_many_share_the_time(aws: ScriptedAws, open_source: Open) -> None:
    def script(operation: str, params: dict[str, Any]) -> Answer:
        answer = honest(operation, params)
        is_slow = "s0" in params["SecretIdList"]
        return Answer(answer.status, answer.body, delay_s=0.7) if is_slow else answer

    aws.script = script
    source = open_source(timeouts=DEFAULT_TIMEOUTS)
    found = list(source.fetch(refs(*(f"s{number}" for number in range(400))), deadline=soon(7.0)))
    assert all(isinstance(outcome, FetchedSecret) for outcome in found)


def test_the_last_read_is_cut_to_the_time_that_is_left(aws: ScriptedAws, open_source: Open) -> None:
    aws.answer_in_turn(Answer(200, b"", delay_s=3.0))
    source = open_source(timeouts=Timeouts(connect_s=0.1, read_s=60.0))
    started = time.monotonic()
    (found,) = source.fetch(refs("a"), deadline=started + 0.8)
    assert time.monotonic() - started < 0.95
    assert verdict(found) == ("unreachable", FailureClass.TRANSIENT)
    assert said(found) == "Secrets Manager could not be reached for a (it did not answer in time)"


def test_nothing_is_begun_after_the_deadline(aws: ScriptedAws, open_source: Open) -> None:
    found = list(open_source().fetch(refs("a", "b"), deadline=soon(0.1)))
    assert [verdict(outcome) for outcome in found] == [("unreachable", FailureClass.TRANSIENT)] * 2
    assert aws.requests == []


def test_waits_are_jittered_and_stop_before_the_deadline(aws: ScriptedAws, open_source: Open) -> None:
    now = [1000.0]
    waits: list[float] = []
    begun: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    def script(operation: str, params: dict[str, Any]) -> Answer:
        begun.append(now[0])
        now[0] += 1.0
        return error("ThrottlingException")

    aws.script = script
    source = open_source(
        clocks=Clocks(lambda: now[0], time.time, sleep), timeouts=Timeouts(connect_s=1.0, read_s=1.0)
    )
    (found,) = source.fetch(refs("a"), deadline=1004.0)
    assert verdict(found) == ("throttled", FailureClass.TRANSIENT)
    assert len(begun) in (2, 3)
    assert max(begun) <= 1004.0 - 1.0
    assert all(0 <= wait <= 0.1 * 2**turn for turn, wait in enumerate(waits))


@pytest.mark.parametrize(
    "changes",
    [
        {"ARN": None},
        {"ARN": 7},
        {"Name": None},
        {"Name": ["a"]},
        {"Name": "neighbour", "ARN": arn("neighbour")},
        {"VersionId": None},
        {"VersionId": ""},
        {"VersionId": 7},
        {"VersionStages": None},
        {"VersionStages": []},
        {"VersionStages": ["AWSPREVIOUS"]},
        {"VersionStages": "AWSCURRENT"},
        {"SecretString": None},
        {"SecretString": 7},
        {"SecretString": {"k": "fake"}},
        {"SecretString": ["fake"]},
        {"SecretBinary": "AAAA"},
        {"SecretString": None, "SecretBinary": 7},
        {"SecretString": None, "SecretBinary": "not base64!"},
        {"CreatedDate": "not a date"},
    ],
    ids=repr,
)
def test_a_value_with_a_wrong_or_missing_field_never_counts(
    aws: ScriptedAws, open_source: Open, changes: dict[str, object]
) -> None:
    lying = {**entry("a"), **changes}
    lying = {name: field for name, field in lying.items() if field is not None}

    def script(operation: str, params: dict[str, Any]) -> Answer:
        if operation == "GetSecretValue":
            return ok(lying) if params["SecretId"] == "a" else honest(operation, params)
        return ok({"SecretValues": [lying, entry("b")], "Errors": []})

    aws.script = script
    (found,) = open_source().fetch(refs("a"), deadline=soon())
    assert verdict(found) == ("incomplete-answer", FailureClass.TRANSIENT)
    found_in_batch = list(open_source().fetch(refs("a", "b"), deadline=soon()))
    lied = [outcome for outcome in found_in_batch if outcome.ref.id == "a"]
    assert [verdict(outcome)[0] for outcome in lied] == ["incomplete-answer"]


def test_a_version_that_was_not_asked_for_never_counts(aws: ScriptedAws, open_source: Open) -> None:
    aws.answer_in_turn(ok(entry("a", VersionId="99999999-2222-4333-8444-555555555555")))
    asked = [type(refs("a")[0])("aws", "a", version=VERSION)]
    (found,) = open_source().fetch(asked, deadline=soon())
    assert verdict(found)[0] == "incomplete-answer"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"SecretValues": 7},
        {"SecretValues": ["a"]},
        {"SecretValues": {"a": 1}},
        {"SecretValues": "a"},
        {"Errors": [7]},
        {"SecretValues": [None]},
        {"SecretValues": None, "Errors": None},
        [],
        7,
        "text",
        None,
    ],
    ids=repr,
)
def test_a_batch_answer_of_the_wrong_shape_is_incomplete(
    aws: ScriptedAws, open_source: Open, body: object
) -> None:
    aws.answer_in_turn(ok(body))
    found = list(open_source().fetch(refs("a", "b"), deadline=soon()))
    assert [verdict(outcome) for outcome in found] == [("incomplete-answer", FailureClass.TRANSIENT)] * 2


@pytest.mark.parametrize(
    "batch",
    [
        {"SecretValues": [entry("a")], "Errors": []},
        {"SecretValues": [entry("a"), entry("b"), entry("b", "another")], "Errors": []},
        {
            "SecretValues": [entry("a"), entry("b")],
            "Errors": [{"SecretId": "b", "ErrorCode": "AccessDeniedException"}],
        },
        {"SecretValues": [entry("a"), entry("stranger")], "Errors": []},
    ],
    ids=["in neither list", "twice", "in both lists", "a stranger instead"],
)
def test_an_id_that_a_batch_answer_does_not_settle_is_asked_alone(
    aws: ScriptedAws, open_source: Open, batch: dict[str, object]
) -> None:
    aws.script = lambda operation, params: (
        ok(batch) if operation == "BatchGetSecretValue" else honest(operation, params)
    )
    found = list(open_source().fetch(refs("a", "b"), deadline=soon()))
    assert {outcome.ref.id: outcome.payload for outcome in found if isinstance(outcome, FetchedSecret)} == {
        "a": b"fake-value-of-a",
        "b": b"fake-value-of-b",
    }
    assert aws.operations() == ["BatchGetSecretValue", "GetSecretValue"]


def test_an_id_that_stays_in_neither_list_is_an_incomplete_answer(
    aws: ScriptedAws, open_source: Open
) -> None:
    aws.script = lambda operation, params: (
        ok({"SecretValues": [entry("a")], "Errors": []}) if operation == "BatchGetSecretValue" else ok({})
    )
    found = {outcome.ref.id: outcome for outcome in open_source().fetch(refs("a", "b"), deadline=soon())}
    assert isinstance(found["a"], FetchedSecret)
    assert verdict(found["b"]) == ("incomplete-answer", FailureClass.TRANSIENT)
