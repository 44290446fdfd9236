"""Calls are few, and one bad secret never fails its neighbours."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from secretsd.errors import FailureClass
from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh.sources.interface import FetchFailure, RemoteSource
from tests.refresh.sources.conftest import IDENTITY, Open, refs, soon
from tests.refresh.sources.scripted_aws import VERSION, Answer, ScriptedAws, arn, entry, error, honest, ok

if TYPE_CHECKING:
    from secretsd.refresh.sources.aws.fetch import Outcome


def by_id(outcomes: list[Outcome]) -> dict[str, Outcome]:
    return {outcome.ref.id: outcome for outcome in outcomes}


def code(outcome: Outcome) -> str:
    assert isinstance(outcome, FetchFailure)
    return outcome.failure.code


def failure_class(outcome: Outcome) -> FailureClass:
    assert isinstance(outcome, FetchFailure)
    return outcome.failure.failure_class


def value(outcome: Outcome) -> bytes:
    assert isinstance(outcome, FetchedSecret)
    return outcome.payload


@pytest.mark.parametrize(
    ("count", "calls"), [(0, 0), (1, 1), (19, 1), (20, 1), (21, 2), (40, 2), (41, 3), (200, 10)]
)
def test_every_batch_is_full_and_none_is_empty(
    aws: ScriptedAws, open_source: Open, count: int, calls: int
) -> None:
    asked = refs(*(f"s{number}" for number in range(count)))
    source = open_source()
    outcomes = list(source.fetch(asked + asked, deadline=soon()))
    assert sorted(outcome.ref for outcome in outcomes) == sorted(asked)
    assert all(value(outcome) == f"fake-value-of-{outcome.ref.id}".encode() for outcome in outcomes)
    assert len(aws.requests) == calls == sum(source.calls.values())
    assert all(len(params.get("SecretIdList", [])) <= 20 for _, params in aws.requests)


def test_results_come_while_a_later_batch_has_not_been_asked_for(aws: ScriptedAws, open_source: Open) -> None:
    results = open_source().fetch(refs(*(f"s{number}" for number in range(40))), deadline=soon())
    assert value(next(results))
    assert len(aws.requests) == 1


def test_stage_and_version_are_asked_alone_and_explicitly(aws: ScriptedAws, open_source: Open) -> None:
    asked = [
        SecretRef("aws", "a", "AWSPENDING"),
        SecretRef("aws", "a", "AWSPREVIOUS"),
        SecretRef("aws", "a", version=VERSION),
        SecretRef("aws", "a"),
    ]
    outcomes = list(open_source().fetch(asked, deadline=soon()))
    assert {outcome.ref for outcome in outcomes} == set(asked)
    assert all(isinstance(outcome, FetchedSecret) for outcome in outcomes)
    sent = [params for _, params in aws.requests]
    assert {"SecretId": "a", "VersionStage": "AWSPENDING"} in sent
    assert {"SecretId": "a", "VersionStage": "AWSPREVIOUS"} in sent
    assert {"SecretId": "a", "VersionStage": "AWSCURRENT"} in sent
    assert {"SecretId": "a", "VersionId": VERSION} in sent


def test_ids_may_be_names_arns_and_arns_without_their_suffix(aws: ScriptedAws, open_source: Open) -> None:
    short = arn("b/two").removesuffix("-AbC12x")
    whole = [entry("one"), entry("b/two"), entry("three")]
    aws.answer_in_turn(ok({"SecretValues": whole, "Errors": []}))
    found = by_id(list(open_source().fetch(refs("one", short, arn("three")), deadline=soon())))
    assert {key: value(outcome) for key, outcome in found.items()} == {
        "one": b"fake-value-of-one",
        short: b"fake-value-of-b/two",
        arn("three"): b"fake-value-of-three",
    }
    assert len(aws.requests) == 1


def test_every_error_of_the_list_fails_its_own_secret_only(aws: ScriptedAws, open_source: Open) -> None:
    told = {
        "denied": ("AccessDeniedException", "User: x is not authorized", "access-denied"),
        "key": ("AccessDeniedException", "Access to KMS is not allowed", "decryption-failed"),
        "broken": ("DecryptionFailure", "", "decryption-failed"),
        "gone": ("ResourceNotFoundException", "can't find the specified secret.", "secret-missing"),
        "empty": (
            "ResourceNotFoundException",
            "can't find the specified secret value for staging label: AWSCURRENT",
            "secret-empty",
        ),
        "deleted": ("InvalidRequestException", "because it was marked for deletion.", "secret-deleted"),
        "bad": ("InvalidParameterException", "", "bad-secret-id"),
    }
    errors = [
        {"SecretId": name, "ErrorCode": told_code, "Message": message}
        for name, (told_code, message, _) in told.items()
    ]
    aws.answer_in_turn(ok({"SecretValues": [entry("fine")], "Errors": errors}))
    found = by_id(list(open_source().fetch(refs("fine", *told), deadline=soon())))
    assert value(found.pop("fine")) == b"fake-value-of-fine"
    assert {name: code(outcome) for name, outcome in found.items()} == {
        name: expected for name, (_, _, expected) in told.items()
    }
    assert failure_class(found["denied"]) is FailureClass.REFUSAL
    assert failure_class(found["deleted"]) is FailureClass.REFUSAL
    assert len(aws.requests) == 1


def test_an_error_of_the_list_may_name_the_arn_of_what_was_asked_by_name(
    aws: ScriptedAws, open_source: Open
) -> None:
    errors = [{"SecretId": arn("a/gone"), "ErrorCode": "ResourceNotFoundException", "Message": "no secret"}]
    aws.answer_in_turn(ok({"SecretValues": [entry("gone")], "Errors": errors}))
    found = by_id(list(open_source().fetch(refs("gone", "a/gone"), deadline=soon())))
    assert value(found["gone"]) == b"fake-value-of-gone"
    assert code(found["a/gone"]) == "secret-missing"


def test_a_transient_error_of_the_list_is_asked_again_alone(aws: ScriptedAws, open_source: Open) -> None:
    errors = [{"SecretId": "slow", "ErrorCode": "InternalServiceError", "Message": ""}]
    aws.answer_in_turn(ok({"SecretValues": [entry("a")], "Errors": errors}), ok(entry("slow")))
    found = by_id(list(open_source().fetch(refs("a", "slow"), deadline=soon())))
    assert value(found["slow"]) == b"fake-value-of-slow"
    assert aws.operations() == ["BatchGetSecretValue", "GetSecretValue"]


def test_a_secret_of_another_account_denied_without_a_stage_is_asked_with_one(
    aws: ScriptedAws, open_source: Open
) -> None:
    errors = [{"SecretId": arn("theirs"), "ErrorCode": "AccessDeniedException", "Message": ""}]
    aws.answer_in_turn(ok({"SecretValues": [entry("a")], "Errors": errors}), ok(entry("theirs")))
    found = by_id(list(open_source().fetch(refs("a", arn("theirs")), deadline=soon())))
    assert value(found[arn("theirs")]) == b"fake-value-of-theirs"
    assert aws.requests[1][1]["VersionStage"] == "AWSCURRENT"


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (error("ResourceNotFoundException", "specified secret value for staging label"), "secret-empty"),
        (error("InvalidRequestException", "currently marked deleted"), "secret-deleted"),
        (error("DecryptionFailure"), "decryption-failed"),
        (error("SomethingNewException"), "unexpected-error"),
    ],
)
def test_one_bad_id_that_fails_the_whole_batch_fails_only_itself(
    aws: ScriptedAws, open_source: Open, bad: Answer, expected: str
) -> None:
    def script(operation: str, params: dict[str, Any]) -> Answer:
        is_bad = params.get("SecretId") == "s7" or "s7" in params.get("SecretIdList", [])
        return bad if is_bad else honest(operation, params)

    aws.script = script
    names = [f"s{number}" for number in range(20)]
    found = by_id(list(open_source().fetch(refs(*names), deadline=soon())))
    assert code(found.pop("s7")) == expected
    assert len([value(outcome) for outcome in found.values()]) == 19
    assert len(aws.requests) == 21


def test_an_id_that_botocore_itself_refuses_fails_only_itself(aws: ScriptedAws, open_source: Open) -> None:
    asked = [*refs("a", "", "b"), SecretRef("aws", "v", version="short")]
    found = by_id(list(open_source().fetch(asked, deadline=soon())))
    assert [code(found[""]), code(found["v"])] == ["bad-secret-id"] * 2
    assert [value(found["a"]), value(found["b"])] == [b"fake-value-of-a", b"fake-value-of-b"]


@pytest.mark.parametrize("refused", ["AccessDeniedException", "UnknownOperationException"])
def test_a_batch_action_that_is_not_allowed_is_no_failure_and_is_not_tried_twice(
    aws: ScriptedAws, open_source: Open, refused: str
) -> None:
    aws.script = lambda operation, params: (
        error(refused) if operation == "BatchGetSecretValue" else honest(operation, params)
    )
    found = list(open_source().fetch(refs(*(f"s{number}" for number in range(45))), deadline=soon()))
    assert len([value(outcome) for outcome in found]) == 45
    assert aws.operations().count("BatchGetSecretValue") == 1


def denies(*names: str) -> Any:
    def script(operation: str, params: dict[str, Any]) -> Answer:
        asked = params.get("SecretIdList", [params.get("SecretId")])
        denied = [name for name in asked if name in names]
        if operation == "GetSecretValue":
            return error("AccessDeniedException", "User: x") if denied else honest(operation, params)
        errors = [{"SecretId": name, "ErrorCode": "AccessDeniedException", "Message": ""} for name in denied]
        return ok({"SecretValues": [entry(name) for name in asked if name not in names], "Errors": errors})

    return script


def test_one_denied_among_the_granted_is_a_refusal_of_that_one(aws: ScriptedAws, open_source: Open) -> None:
    aws.script = denies("s0")  # the first of all: nothing was granted yet when it is denied
    found = by_id(list(open_source().fetch(refs(*(f"s{number}" for number in range(41))), deadline=soon())))
    assert (code(found["s0"]), failure_class(found["s0"])) == ("access-denied", FailureClass.REFUSAL)
    assert "secretsmanager:GetSecretValue" in found["s0"].failure.advice  # type: ignore[union-attr]
    assert len(found) == 41


WITNESS = SecretRef("aws", "witness", "AWSPENDING")


@pytest.mark.parametrize(
    ("witness", "denied_too", "expected"),
    [
        (None, False, FailureClass.IDENTITY),
        (WITNESS, True, FailureClass.IDENTITY),
        (WITNESS, False, FailureClass.REFUSAL),
    ],
    ids=["no witness", "the witness is denied too", "the witness is granted"],
)
def test_all_denied_by_a_broken_policy_is_no_refusal_that_would_withdraw_every_file(
    aws: ScriptedAws,
    open_source: Open,
    witness: SecretRef | None,
    denied_too: bool,
    expected: FailureClass,
) -> None:
    names = [f"s{number}" for number in range(22)]
    aws.script = denies(*names, *(["witness"] if denied_too else []))
    found = list(open_source(witness=witness).fetch(refs(*names), deadline=soon()))
    assert [failure_class(outcome) for outcome in found] == [expected] * 22
    assert {code(outcome) for outcome in found} == {"access-denied"}
    asked = {"SecretId": "witness", "VersionStage": "AWSPENDING"}
    assert aws.requests.count(("GetSecretValue", asked)) == (1 if witness else 0)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error("ResourceNotFoundException", "no such secret"), FailureClass.REFUSAL),
        (error("InvalidRequestException", "marked for deletion"), FailureClass.REFUSAL),
        (ok(entry("witness", "\ud800", VersionStages=["AWSPENDING"])), FailureClass.REFUSAL),
        (ok(entry("another", VersionStages=["AWSPENDING"])), FailureClass.IDENTITY),
        (error("ExpiredTokenException"), FailureClass.IDENTITY),
        (error("InternalServiceError", status=500), FailureClass.IDENTITY),
        (Answer(403, b"<html>a captive portal</html>"), FailureClass.IDENTITY),
    ],
    ids=["gone", "deleted", "not UTF-8", "another secret", "expired", "500", "portal"],
)
def test_only_what_the_allowed_are_told_makes_a_witness(
    aws: ScriptedAws, open_source: Open, answer: Answer, expected: FailureClass
) -> None:
    aws.script = lambda operation, params: (
        answer if params.get("SecretId") == "witness" else denies("a")(operation, params)
    )
    (found,) = open_source(witness=WITNESS).fetch(refs("a"), deadline=soon())
    assert (code(found), failure_class(found)) == ("access-denied", expected)


def test_a_witness_is_not_asked_where_this_fetch_was_granted_anything(
    aws: ScriptedAws, open_source: Open
) -> None:
    aws.script = denies("a")
    found = by_id(list(open_source(witness=WITNESS).fetch(refs("a", "b"), deadline=soon())))
    assert failure_class(found["a"]) is FailureClass.REFUSAL
    assert aws.operations() == ["BatchGetSecretValue"]


def test_the_value_of_a_witness_goes_nowhere(aws: ScriptedAws, open_source: Open) -> None:
    aws.script = denies("a")
    (found,) = open_source(witness=WITNESS).fetch(refs("a"), deadline=soon())
    assert "fake-value-of-witness" not in repr(found)
    assert found.ref.id == "a"


def test_all_denied_behind_an_outage_is_never_a_refusal(aws: ScriptedAws, open_source: Open) -> None:
    def script(operation: str, params: dict[str, Any]) -> Answer:
        is_first = "s0" in params.get("SecretIdList", [])
        return denies(*names)(operation, params) if is_first else error("InternalServiceError", status=500)

    names = [f"s{number}" for number in range(22)]
    aws.script = script
    found = by_id(list(open_source().fetch(refs(*names), deadline=soon())))
    assert failure_class(found["s0"]) is FailureClass.IDENTITY
    assert failure_class(found["s21"]) is FailureClass.TRANSIENT


def test_a_missing_secret_shows_that_the_denial_of_another_is_not_about_us(
    aws: ScriptedAws, open_source: Open
) -> None:
    errors = [
        {"SecretId": "denied", "ErrorCode": "AccessDeniedException", "Message": ""},
        {"SecretId": "gone", "ErrorCode": "ResourceNotFoundException", "Message": ""},
    ]
    aws.answer_in_turn(ok({"SecretValues": [], "Errors": errors}))
    found = by_id(list(open_source().fetch(refs("denied", "gone"), deadline=soon())))
    assert failure_class(found["denied"]) is FailureClass.REFUSAL


def test_binary_and_text_come_as_their_bytes(aws: ScriptedAws, open_source: Open) -> None:
    binary = base64.b64encode(b"\x00\xff\xfe").decode()
    whole = [entry("b", SecretBinary=binary, SecretString=""), entry("t", "gr\u00fc\u00dfe\U0001f511")]
    del whole[0]["SecretString"]
    aws.answer_in_turn(ok({"SecretValues": whole, "Errors": []}))
    found = by_id(list(open_source().fetch(refs("b", "t"), deadline=soon())))
    assert value(found["b"]) == b"\x00\xff\xfe"
    assert value(found["t"]) == "gr\u00fc\u00dfe\U0001f511".encode()
    assert [found[name].is_binary for name in "bt"] == [True, False]  # type: ignore[union-attr]
    assert found["t"].created_at == 1_700_000_000.0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x" * 65_536, None),
        ("x" * 65_537, "too-large"),
        ("\u00e9" * 32_769, "too-large"),
        ("\ud800", "not-utf8"),
    ],
)
def test_the_value_must_be_text_within_the_services_limit(
    aws: ScriptedAws, open_source: Open, text: str, expected: str | None
) -> None:
    aws.answer_in_turn(ok(entry("a", text)))
    (found,) = open_source().fetch(refs("a"), deadline=soon())
    if expected is None:
        assert len(value(found)) == 65_536
    else:
        assert (code(found), failure_class(found)) == (expected, FailureClass.DATA)


def test_the_identity_that_was_given_signs_and_is_shown(aws: ScriptedAws, open_source: Open) -> None:
    source = open_source()
    list(source.fetch(refs("a"), deadline=soon()))
    assert source.identity is IDENTITY
    assert isinstance(source, RemoteSource)


def test_region_and_endpoint_come_from_the_environment(
    aws: ScriptedAws, open_source: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fake")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake")
    for region in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        for endpoint in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"):
            with monkeypatch.context() as patch:
                patch.setenv(region, "eu-west-1")
                patch.setenv(endpoint, aws.url)
                source = open_source(region=None, endpoint_url=None, identity=None)
                (found,) = source.fetch(refs("a"), deadline=soon())
                assert value(found) == b"fake-value-of-a"
                assert source.identity is None


@pytest.mark.parametrize(
    ("options", "expected", "advice"),
    [
        ({"region": None}, "no-region", "AWS_REGION"),
        ({"region": "no region"}, "no-region", "AWS_REGION"),
        ({"endpoint_url": "not a url"}, "bad-endpoint", "endpoint_url"),
        ({"identity": None}, "no-credentials", "AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_source_that_cannot_be_opened_fails_every_secret_with_advice(
    aws: ScriptedAws, open_source: Open, options: dict[str, object], expected: str, advice: str
) -> None:
    found = list(open_source(**options).fetch(refs("a", "b"), deadline=soon()))
    assert [code(outcome) for outcome in found] == [expected] * 2
    assert [failure_class(outcome) for outcome in found] == [FailureClass.IDENTITY] * 2
    assert advice in found[0].failure.advice  # type: ignore[union-attr]
    assert aws.requests == []


def test_a_profile_that_does_not_exist_is_a_failure_and_no_exception(
    aws: ScriptedAws, open_source: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    (found,) = open_source(region=None, identity=None).fetch(refs("a"), deadline=soon())
    assert failure_class(found) is FailureClass.IDENTITY
