"""botocore takes an answer that was cut short for an empty success: here it must never count."""

from __future__ import annotations

from typing import Any

import pytest

from secretsd.errors import FailureClass
from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh.sources.interface import FetchFailure
from tests.refresh.sources.conftest import Open, refs, soon
from tests.refresh.sources.scripted_aws import Answer, ScriptedAws, entry, error, ok, parameter

LENGTHS = pytest.mark.parametrize("length_is_true", [True, False], ids=["true length", "reduced length"])


def cut(whole: Answer, at: int, *, length_is_true: bool) -> Answer:
    declared = len(whole.body) if length_is_true else at
    return Answer(whole.status, whole.body, declared_length=declared, sent=at)


@LENGTHS
def test_a_value_cut_at_any_byte_is_asked_for_again(
    aws: ScriptedAws, open_source: Open, length_is_true: bool
) -> None:
    # One secret for each byte: the first answer about it is cut there, the second is whole.
    length = len(ok(entry("s000", VersionStages=["AWSPENDING"])).body)
    asked: set[str] = set()

    def script(operation: str, params: dict[str, Any]) -> Answer:
        name = params["SecretId"]
        whole = ok(entry(name, VersionStages=["AWSPENDING"]))
        if name in asked:
            return whole
        asked.add(name)
        return cut(whole, int(name[1:]), length_is_true=length_is_true)

    aws.script = script
    pending = [SecretRef("aws", f"s{at:03}", "AWSPENDING") for at in range(length)]
    found = list(open_source().fetch(pending, deadline=soon(60.0)))
    assert [outcome.payload for outcome in found if isinstance(outcome, FetchedSecret)] == [
        f"fake-value-of-{ref.id}".encode() for ref in pending
    ]
    assert len(aws.requests) == 2 * length  # no first answer counted


@LENGTHS
def test_a_batch_cut_at_any_byte_is_asked_for_again(
    aws: ScriptedAws, open_source: Open, length_is_true: bool
) -> None:
    small = [entry(name, "fake", ARN=f"arn:{name}", VersionId="v", CreatedDate=None) for name in ("a", "b")]
    whole = ok({"SecretValues": small, "Errors": []})
    source = open_source()
    for at in range(len(whole.body)):
        aws.requests.clear()
        aws.answer_in_turn(cut(whole, at, length_is_true=length_is_true), whole)
        found = list(source.fetch(refs("a", "b"), deadline=soon()))
        assert len(aws.requests) == 2, at
        assert [outcome.payload for outcome in found if isinstance(outcome, FetchedSecret)] == [b"fake"] * 2


@LENGTHS
def test_parameters_cut_at_any_byte_are_asked_for_again(
    aws: ScriptedAws, open_store: Open, length_is_true: bool
) -> None:
    small = [parameter(name, "fake", LastModifiedDate=None, DataType=None) for name in ("/a", "/b")]
    whole = ok({"Parameters": small, "InvalidParameters": []})
    source = open_store()
    for at in range(len(whole.body)):
        aws.requests.clear()
        aws.answer_in_turn(cut(whole, at, length_is_true=length_is_true), whole)
        found = list(source.fetch(refs("/a", "/b"), deadline=soon()))
        assert len(aws.requests) == 2, at
        assert [outcome.payload for outcome in found if isinstance(outcome, FetchedSecret)] == [b"fake"] * 2


def test_a_list_of_missing_parameters_cut_at_any_byte_refuses_nothing(
    aws: ScriptedAws, open_store: Open
) -> None:
    refusal = ok({"Parameters": [], "InvalidParameters": ["/a"]})
    source = open_store()
    for at in range(len(refusal.body)):
        aws.answer_in_turn(cut(refusal, at, length_is_true=False), ok({"Parameters": [parameter("/a")]}))
        (found,) = source.fetch(refs("/a"), deadline=soon())
        assert isinstance(found, FetchedSecret), at
    aws.answer_in_turn(refusal)
    (found,) = source.fetch(refs("/a"), deadline=soon())
    assert isinstance(found, FetchFailure)
    assert found.failure.code == "secret-missing"


@pytest.mark.parametrize("at", [0, 1, 60, 200])
def test_an_answer_that_is_always_cut_is_transient(aws: ScriptedAws, open_source: Open, at: int) -> None:
    aws.answer_in_turn(cut(ok({"SecretValues": [entry("a"), entry("b")]}), at, length_is_true=True))
    found = list(open_source().fetch(refs("a", "b"), deadline=soon()))
    assert [
        (outcome.failure.code, outcome.failure.failure_class)
        for outcome in found
        if isinstance(outcome, FetchFailure)
    ] == [("incomplete-answer", FailureClass.TRANSIENT)] * 2


def test_a_refusal_cut_at_any_byte_is_no_refusal(aws: ScriptedAws, open_source: Open) -> None:
    refusal = error("InvalidRequestException", "marked for deletion")
    source = open_source()
    for at in range(len(refusal.body)):
        aws.answer_in_turn(cut(refusal, at, length_is_true=False), ok(entry("a")))
        (found,) = source.fetch(refs("a"), deadline=soon())
        assert isinstance(found, FetchedSecret), at
    aws.answer_in_turn(refusal)
    (found,) = source.fetch(refs("a"), deadline=soon())
    assert isinstance(found, FetchFailure)
    assert found.failure.code == "secret-deleted"
