"""The queue as it is, and whatever SQS and the way to it can answer: each has a name and an advice."""

from __future__ import annotations

import dataclasses
import time

import pytest

from secretsd.errors import FailureClass
from secretsd.push import failures, queue
from secretsd.push.messages import Assignment
from secretsd.push.queue import Message, Queue, QueueFailedError
from secretsd.refresh.sources.aws.errors import fault_of_code
from secretsd.refresh.sources.aws.session import Timeouts
from tests.lab.imds import FakeImds, Mode
from tests.lab.push import FakePush
from tests.refresh.sources.scripted_aws import Answer, ScriptedAws, error, ok

URL = "https://sqs.us-east-1.amazonaws.com/123456789012/secretsd"
HIDDEN = "fake-text-of-the-service"


def opened(endpoint_url: str | None, *, url: str = URL, region: str | None = "us-east-1") -> Queue:
    return Queue(Assignment("aws", url, region, endpoint_url))


def gone(code: str) -> Answer:
    answer = error("com.amazonaws.sqs#QueueDoesNotExist", HIDDEN)
    return dataclasses.replace(answer, headers={"x-amzn-query-error": f"{code};Sender"})


def test_messages_are_received_once_and_deleted(push: FakePush) -> None:
    push.send(*(f"body-{number}" for number in range(12)))
    reader = opened(push.aws.url)
    first, second = reader.receive(), reader.receive()
    assert (len(first), len(second)) == (10, 2)
    assert {str(message.body) for message in (*first, *second)} == {f"body-{n}" for n in range(12)}
    reader.delete(first)
    reader.delete(second)
    reader.try_deleting()
    assert push.waiting() == 0
    assert reader.take_calls() == {"ReceiveMessage": 2, "DeleteMessageBatch": 3}
    assert reader.take_calls() == {}


def test_an_empty_queue_is_no_failure(push: FakePush) -> None:
    assert opened(push.aws.url).receive(wait_s=0) == ()


def test_a_queue_that_is_gone_is_named(push: FakePush) -> None:
    push.delete_queue()
    with pytest.raises(QueueFailedError) as caught:
        opened(push.aws.url).receive(wait_s=0)
    assert caught.value.failure.code == "queue-missing"
    assert URL in caught.value.failure.message
    assert "aws-setup --push" in caught.value.failure.advice


ANSWERS = {
    "throttled": error("ThrottlingException", HIDDEN),
    "request-throttled": error("RequestThrottled", HIDDEN),
    "over-limit": error("OverLimit", HIDDEN),
    "server-error": error("InternalError", HIDDEN, status=500),
    "unavailable": Answer(503, b"<html>Service Unavailable</html>"),
    "denied": error("AccessDeniedException", HIDDEN),
    "denied-old": error("AccessDenied", HIDDEN),
    "key-denied": error("KmsAccessDenied", HIDDEN),
    "key-gone": error("KMS.NotFoundException", HIDDEN),
    "expired": error("ExpiredToken", HIDDEN),
    "unknown-client": error("InvalidClientTokenId", HIDDEN),
    "clock": error("RequestExpired", HIDDEN),
    "gone": gone("AWS.SimpleQueueService.NonExistentQueue"),
    "page": Answer(200, b"<html>welcome to the hotel</html>"),
    "cut": Answer(200, b'{"Messages": [{"Body": "x"', declared_length=200),
    "empty": Answer(200, b""),
    "wrong-type": ok({"Messages": "many"}),
    "reset": Answer(200, b"", reset=True),
    "new-error": error("SomethingNew", HIDDEN),
}
EXPECTED = {
    "throttled": ("throttled", FailureClass.TRANSIENT),
    "request-throttled": ("throttled", FailureClass.TRANSIENT),
    "over-limit": ("throttled", FailureClass.TRANSIENT),
    "server-error": ("server-error", FailureClass.TRANSIENT),
    "unavailable": ("server-error", FailureClass.TRANSIENT),
    "denied": ("access-denied", FailureClass.IDENTITY),
    "denied-old": ("access-denied", FailureClass.IDENTITY),
    "key-denied": ("decryption-failed", FailureClass.IDENTITY),
    "key-gone": ("decryption-failed", FailureClass.IDENTITY),
    "expired": ("expired-credentials", FailureClass.IDENTITY),
    "unknown-client": ("unknown-credentials", FailureClass.IDENTITY),
    "clock": ("clock-skew", FailureClass.TRANSIENT),
    "gone": ("queue-missing", FailureClass.IDENTITY),
    "page": ("incomplete-answer", FailureClass.TRANSIENT),
    "cut": ("incomplete-answer", FailureClass.TRANSIENT),
    "empty": ("incomplete-answer", FailureClass.TRANSIENT),
    "wrong-type": ("incomplete-answer", FailureClass.TRANSIENT),
    "reset": ("unreachable", FailureClass.TRANSIENT),
    "new-error": ("unexpected-error", FailureClass.TRANSIENT),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_every_answer_that_is_none_has_a_name_and_an_advice(scripted: ScriptedAws, what: str) -> None:
    scripted.answer_in_turn(ANSWERS[what])
    with pytest.raises(QueueFailedError) as caught:
        opened(scripted.url).receive(wait_s=0)
    told = caught.value.failure
    assert (told.code, told.failure_class) == EXPECTED[what]
    assert told.advice
    assert "{" not in told.message + told.advice
    assert HIDDEN not in repr(told)
    assert len(scripted.requests) == 1, "asked once: when it is asked again is the listener's"


def test_nobody_there_and_no_region_and_no_credentials_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def failure_of(reader: Queue) -> str:
        with pytest.raises(QueueFailedError) as caught:
            reader.receive(wait_s=0)
        return caught.value.failure.code

    assert failure_of(opened("http://127.0.0.1:1")) == "unreachable"
    assert failure_of(opened("http://[")) in ("bad-endpoint", "incomplete-answer")
    for name in ("AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert failure_of(opened("http://127.0.0.1:1", url="http://127.0.0.1:1/q", region=None)) == "no-region"
    assert failure_of(opened("http://127.0.0.1:1")) == "no-credentials"


def test_a_role_is_found_at_the_metadata_service_whose_outage_is_named(
    push: FakePush, imds: FakeImds, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.url)
    reader = opened(push.aws.url)
    assert reader.receive(wait_s=0) == ()
    imds.mode = Mode.ERROR
    assert reader.receive(wait_s=0) == (), "what it has serves on"
    with pytest.raises(QueueFailedError, match="metadata-unreachable"):
        opened(push.aws.url).receive(wait_s=0)


def test_an_answer_that_never_comes_is_given_up(
    scripted: ScriptedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_TIMEOUTS", Timeouts(connect_s=0.3, read_s=30.0))
    scripted.answer_in_turn(ok({}), Answer(200, b"{}", delay_s=8.0))
    reader = opened(scripted.url)
    reader.receive()
    monkeypatch.setattr(queue, "_DEADLINE_S", 0.4)
    before = time.monotonic()
    with pytest.raises(QueueFailedError) as caught:
        reader.receive()
    assert caught.value.failure.code == "unreachable"
    assert time.monotonic() - before < 4.0


def test_an_alarm_that_strikes_inside_a_destructor_strikes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_DEADLINE_S", 0.1)
    monkeypatch.setattr(queue, "_ALARM_AGAIN_S", 0.2)

    def swallowed_once() -> None:
        try:
            time.sleep(5)
        except queue._TooLateError:
            time.sleep(5)

    before = time.monotonic()
    with pytest.raises(queue._TooLateError), queue._alarm():
        swallowed_once()
    assert time.monotonic() - before < 4.0


def test_the_deadline_is_over_the_longest_wait() -> None:
    assert queue.WAIT_S < queue._TIMEOUTS.read_s < queue._DEADLINE_S


def test_what_cannot_be_deleted_is_named(scripted: ScriptedAws) -> None:
    scripted.answer_in_turn(ok({"Failed": [{"Id": "0", "Code": "ReceiptHandleIsInvalid"}]}))
    with pytest.raises(QueueFailedError, match="incomplete-answer"):
        opened(scripted.url).delete([Message("x", "h")])
    opened(scripted.url).try_deleting()  # the answer to a handle that is none: we may
    scripted.answer_in_turn(error("AccessDenied", HIDDEN))
    with pytest.raises(QueueFailedError) as caught:
        opened(scripted.url).try_deleting()
    assert "sqs:DeleteMessage" in caught.value.failure.message


def test_a_queue_is_asked_in_the_region_of_its_url(scripted: ScriptedAws) -> None:
    frankfurt = opened(scripted.url, url=URL.replace("us-east-1", "eu-central-1"))
    scripted.answer_in_turn(ok({}))
    frankfurt.receive(wait_s=0)
    assert frankfurt._client.meta.region_name == "eu-central-1"


def test_each_of_our_codes_has_words_of_its_own() -> None:
    for code in ("ThrottlingException", "ExpiredToken", "AccessDenied", "RequestExpired"):
        fault = fault_of_code(code, None)
        assert fault.code in failures._TEXTS
