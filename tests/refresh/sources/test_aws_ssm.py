"""Parameters come in few calls, at the version or label that was asked for, and none fails its neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from secretsd.errors import FailureClass
from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh.sources.interface import FetchFailure, RemoteSource
from tests.refresh.sources.conftest import IDENTITY, Open, refs, soon
from tests.refresh.sources.scripted_aws import (
    Answer,
    Script,
    ScriptedAws,
    error,
    honest,
    ok,
    parameter,
    split_selector,
)

if TYPE_CHECKING:
    from secretsd.refresh.sources.aws.fetch import Outcome

ARN = "arn:aws:ssm:us-east-1:999999999999:parameter/theirs/key"
NOT_AUTHORIZED = "User: x is not authorized to perform: ssm:GetParameters on resource: y"
KMS_DENIED = (
    "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or"
    " you are not allowed to access. (Service: AWSKMS; Status Code: 400; Error Code: AccessDeniedException)"
)


def answer(*values: dict[str, Any], invalid: tuple[str, ...] = ()) -> Answer:
    return ok({"Parameters": list(values), "InvalidParameters": list(invalid)})


def fetched(source: RemoteSource, *asked: SecretRef) -> dict[SecretRef, Outcome]:
    outcomes = list(source.fetch(asked, deadline=soon()))
    assert len(outcomes) == len(set(asked))
    return {outcome.ref: outcome for outcome in outcomes}


def told(outcome: Outcome) -> tuple[str, FailureClass]:
    assert isinstance(outcome, FetchFailure)
    return outcome.failure.code, outcome.failure.failure_class


def value(outcome: Outcome) -> bytes:
    assert isinstance(outcome, FetchedSecret)
    return outcome.payload


def lacks(*names: str) -> Script:
    """A store without these; a name with a selector lacks that version or label alone."""

    def script(_operation: str, params: dict[str, Any]) -> Answer:
        invalid = [name for name in params["Names"] if {name, split_selector(name)[0]} & set(names)]
        return answer(
            *(parameter(name) for name in params["Names"] if name not in invalid), invalid=tuple(invalid)
        )

    return script


def fails_with(bad: Answer, *names: str) -> Script:
    """A store that answers each call with `bad` that asks for one of `names`, as AWS does."""
    return lambda operation, params: bad if set(names) & set(params["Names"]) else honest(operation, params)


@pytest.mark.parametrize(
    ("count", "calls"), [(0, 0), (1, 1), (9, 1), (10, 1), (11, 2), (20, 2), (21, 3), (100, 10)]
)
def test_every_batch_is_full_and_none_is_larger_than_aws_takes(
    aws: ScriptedAws, open_store: Open, count: int, calls: int
) -> None:
    asked = refs(*(f"/p/{number}" for number in range(count)))
    source = open_store()
    found = fetched(source, *asked, *asked) if asked else {}
    assert {ref: value(outcome) for ref, outcome in found.items()} == {
        ref: f"fake-value-of-{ref.id}".encode() for ref in asked
    }
    assert source.calls == ({"GetParameters": calls} if calls else {})
    assert all(len(params["Names"]) <= 10 and params["WithDecryption"] for _, params in aws.requests)


def test_versions_labels_and_arns_come_in_full_batches_too(aws: ScriptedAws, open_store: Open) -> None:
    asked = [
        SecretRef("ssm", "/bot/key"),
        SecretRef("ssm", "/bot/old", version="3"),
        SecretRef("ssm", "plain", "live"),
        SecretRef("ssm", ARN),
        SecretRef("ssm", f"{ARN}2", version="12"),
    ]
    found = fetched(open_store(), *asked)
    assert [params["Names"] for _, params in aws.requests] == [
        ["/bot/key", "/bot/old:3", "plain:live", ARN, f"{ARN}2:12"]
    ]
    versions = [found[ref].version_id for ref in asked if isinstance(found[ref], FetchedSecret)]  # type: ignore[union-attr]
    assert versions == ["7", "3", "7", "7", "12"]
    assert all(outcome.created_at == 1_700_000_000.0 for outcome in found.values())  # type: ignore[union-attr]


def test_two_versions_of_one_parameter_are_never_confused(aws: ScriptedAws, open_store: Open) -> None:
    asked = [
        SecretRef("ssm", "/k"),
        SecretRef("ssm", "/k", version="3"),
        SecretRef("ssm", "/k", "live"),
        SecretRef("ssm", "/other"),
    ]
    found = fetched(open_store(), *asked)
    assert [value(found[ref]) for ref in asked] == [
        b"fake-value-of-/k", b"fake-value-of-/k:3", b"fake-value-of-/k:live", b"fake-value-of-/other",
    ]  # fmt: skip
    assert [params["Names"] for _, params in aws.requests] == [["/k", "/other"], ["/k:3"], ["/k:live"]]


@pytest.mark.parametrize(
    "wrong",
    [
        parameter("/a", Version=4, Selector=":4"),
        parameter("/a", Version=3, Selector=":live"),
        parameter("/a", Version=4, Selector=None),
    ],
    ids=["another version", "another selector", "another version without a selector"],
)
def test_another_version_than_the_one_asked_for_is_not_taken(
    aws: ScriptedAws, open_store: Open, wrong: dict[str, Any]
) -> None:
    aws.answer_in_turn(answer(wrong))
    ref = SecretRef("ssm", "/a", version="3")
    assert told(fetched(open_store(), ref)[ref]) == ("incomplete-answer", FailureClass.TRANSIENT)
    aws.answer_in_turn(answer(parameter("/a", Selector=":live")))
    ref = SecretRef("ssm", "/a")
    assert told(fetched(open_store(), ref)[ref]) == ("incomplete-answer", FailureClass.TRANSIENT)


LIES = (
    {"Value": None}, {"Value": {"a": "b"}}, {"Value": 5}, {"Type": None}, {"Type": "Secret"},
    {"Type": []}, {"Type": {}}, {"Selector": []}, {"Selector": {"a": "b"}}, {"Name": [], "ARN": {}},
    {"Version": None}, {"Version": 0}, {"Version": "7"}, {"Version": -3},
    {"Name": None, "ARN": None}, {"Name": "/ab", "ARN": "arn:aws:ssm:us-east-1:1:parameter/ab"},
)  # fmt: skip


@pytest.mark.parametrize(
    "lie",
    [
        {},
        {"Parameters": None},
        {"Parameters": []},
        {"Parameters": "x", "InvalidParameters": []},
        {"Parameters": [], "InvalidParameters": ["/b"]},
        {"Parameters": [], "InvalidParameters": "/a"},
        {"Parameters": [parameter("/b")]},
        {"Parameters": [parameter("/a"), parameter("/a")]},
        *({"Parameters": [parameter("/a", **change)]} for change in LIES),
    ],
)
def test_an_answer_that_is_not_whole_never_counts(
    aws: ScriptedAws, open_store: Open, lie: dict[str, Any]
) -> None:
    aws.answer_in_turn(ok(lie))
    for asked in (refs("/a"), refs("/a", "/c")):
        found = fetched(open_store(), *asked)
        assert told(found[asked[0]]) == ("incomplete-answer", FailureClass.TRANSIENT)


@pytest.mark.parametrize("kind", ["SecureString", "String", "StringList"])
def test_each_type_comes_as_its_text(aws: ScriptedAws, open_store: Open, kind: str) -> None:
    aws.answer_in_turn(answer(parameter("/a", "fake,gr\u00fc\u00dfe", Type=kind)))
    (ref,) = refs("/a")
    assert value(fetched(open_store(), ref)[ref]) == "fake,gr\u00fc\u00dfe".encode()


def test_a_missing_parameter_fails_alone_and_in_one_call(aws: ScriptedAws, open_store: Open) -> None:
    aws.script = lacks("/gone")
    found = fetched(open_store(), *refs("/a", "/gone", "/b"))
    assert told(found[SecretRef("aws", "/gone")]) == ("secret-missing", FailureClass.REFUSAL)
    assert [value(found[ref]) for ref in refs("/a", "/b")]
    assert len(aws.requests) == 1


def test_a_label_that_has_moved_away_revokes_nothing_and_a_deleted_parameter_does(
    aws: ScriptedAws, open_store: Open
) -> None:
    moved, gone = SecretRef("ssm", "/moved", "live"), SecretRef("ssm", "/gone", version="3")
    aws.script = lacks("/moved:live", "/gone")
    found = fetched(open_store(), moved, gone)
    assert told(found[moved]) == ("secret-empty", FailureClass.DATA)
    assert told(found[gone]) == ("secret-missing", FailureClass.REFUSAL)
    looked = [params for _, params in aws.requests if not params["WithDecryption"]]
    assert [params["Names"] for params in looked] == [["/moved"], ["/gone"]], "no value is asked for"


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (error("AccessDeniedException", NOT_AUTHORIZED), ("access-denied", FailureClass.REFUSAL)),
        (error("AccessDeniedException", KMS_DENIED), ("decryption-failed", FailureClass.REFUSAL)),
        (
            error("AccessDeniedException", "is not authorized to perform: kms:Decrypt on the resource"),
            ("decryption-failed", FailureClass.REFUSAL),
        ),
        (error("InvalidKeyId", "is pending deletion"), ("decryption-failed", FailureClass.REFUSAL)),
        (error("ValidationException", "Parameter name: can't be"), ("bad-secret-id", FailureClass.DATA)),
        (error("SomethingNewException"), ("unexpected-error", FailureClass.TRANSIENT)),
    ],
)
def test_one_bad_name_that_fails_its_whole_batch_fails_only_itself(
    aws: ScriptedAws, open_store: Open, bad: Answer, expected: tuple[str, FailureClass]
) -> None:
    aws.script = fails_with(bad, "/p/7")
    asked = refs(*(f"/p/{number}" for number in range(20)))
    source = open_store()
    found = fetched(source, *asked)
    assert told(found.pop(asked[7])) == expected
    assert len([value(outcome) for outcome in found.values()]) == 19
    assert source.calls == {"GetParameters": 12}, "the other batch stays a batch"


def test_a_name_of_kms_in_a_parameter_does_not_make_its_denial_one_of_the_key(
    aws: ScriptedAws, open_store: Open
) -> None:
    denied, fine = refs("/AWSKMS/Kms", "/b")
    text = "User: x is not authorized to perform: ssm:GetParameters on resource: parameter/AWSKMS/Kms"
    aws.script = fails_with(error("AccessDeniedException", text), "/AWSKMS/Kms")
    assert told(fetched(open_store(), denied, fine)[denied]) == ("access-denied", FailureClass.REFUSAL)


@pytest.mark.parametrize("granted_witness", [False, True])
def test_all_denied_is_about_us_unless_the_witness_is_granted(
    aws: ScriptedAws, open_store: Open, granted_witness: bool
) -> None:
    asked = refs(*(f"/p/{number}" for number in range(12)))
    witness = SecretRef("aws", "/witness", version="4")
    denied = [ref.id for ref in asked] + ([] if granted_witness else ["/witness:4"])
    aws.script = fails_with(error("AccessDeniedException", NOT_AUTHORIZED), *denied)
    found = fetched(open_store(witness=witness), *asked)
    expected = FailureClass.REFUSAL if granted_witness else FailureClass.IDENTITY
    assert {told(outcome) for outcome in found.values()} == {("access-denied", expected)}


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (error("ThrottlingException", "Rate exceeded"), ("throttled", FailureClass.TRANSIENT)),
        (error("InternalServerError", status=500), ("server-error", FailureClass.TRANSIENT)),
        (error("ExpiredTokenException"), ("expired-credentials", FailureClass.IDENTITY)),
        (Answer(502, b"<html>bad gateway</html>"), ("server-error", FailureClass.TRANSIENT)),
        (Answer(200, b"", reset=True), ("unreachable", FailureClass.TRANSIENT)),
    ],
)
def test_what_is_wrong_with_the_service_or_with_us_is_no_parameters_fault(
    aws: ScriptedAws, open_store: Open, bad: Answer, expected: tuple[str, FailureClass]
) -> None:
    aws.answer_in_turn(bad)
    source = open_store(endpoint="ssm us-east-1")
    found = fetched(source, *refs("/a", "/b"))
    assert [told(outcome) for outcome in found.values()] == [expected] * 2
    (seen,) = source.endpoints
    assert (seen.endpoint, seen.did) == (
        "ssm us-east-1",
        "answers" if expected[1] is FailureClass.IDENTITY else "fails",
    )


def test_a_cautious_fetch_sends_one_request_and_gives_up_if_it_fails(
    aws: ScriptedAws, open_store: Open
) -> None:
    aws.answer_in_turn(error("ThrottlingException"))
    found = fetched(open_store(cautious=True), *refs(*(f"/p/{number}" for number in range(30))))
    assert {told(outcome) for outcome in found.values()} == {("throttled", FailureClass.TRANSIENT)}
    assert len(aws.requests) == 1


@pytest.mark.parametrize(
    ("text", "expected"), [("", "secret-empty"), ("x" * 65_537, "too-large"), ("fake\ud800", "not-utf8")]
)
def test_a_value_that_is_none_is_bad_data(
    aws: ScriptedAws, open_store: Open, text: str, expected: str
) -> None:
    aws.answer_in_turn(answer(parameter("/a", text)))
    (ref,) = refs("/a")
    assert told(fetched(open_store(), ref)[ref]) == (expected, FailureClass.DATA)


def test_the_texts_speak_of_the_parameter_store(aws: ScriptedAws, open_store: Open) -> None:
    for bad in (
        error("AccessDeniedException", NOT_AUTHORIZED),
        error("ThrottlingException"),
        error("InvalidKeyId"),
        error("ValidationException"),
        error("SomethingNewException"),
        Answer(200, b"{}"),
        Answer(200, b"", reset=True),
    ):
        aws.answer_in_turn(bad)
        (outcome,) = open_store().fetch(refs("/a"), deadline=soon())
        assert isinstance(outcome, FetchFailure)
        shown = f"{outcome.failure.message} {outcome.failure.advice}"
        assert "secretsmanager" not in shown
        assert "Secrets Manager" not in shown
        assert "{" not in shown
    source = open_store()
    assert isinstance(source, RemoteSource)
    assert source.identity is IDENTITY
