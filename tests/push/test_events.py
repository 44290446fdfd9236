"""What messages mean, and that no message can do more than be counted."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secretsd.push import messages
from secretsd.push.events import MAX_BODY_CHARACTERS, read
from secretsd.push.messages import Hint, Received, decode_message, encode_message
from tests.push.samples import ARN, NAME, VERSION, cloudtrail, from_sns, native

PUT = cloudtrail(
    "PutSecretValue",
    requestParameters={"secretId": NAME, "clientRequestToken": VERSION},
    responseElements={"aRN": ARN, "name": NAME, "versionId": VERSION},
)
CURRENT = Hint(ARN, NAME, "AWSCURRENT", VERSION)


def rotated(secret_id: object) -> dict[str, Any]:
    return cloudtrail(
        "RotationSucceeded",
        kind="AWS Service Event via CloudTrail",
        requestParameters=None,
        responseElements=None,
        additionalEventData={"SecretId": secret_id},
    )


def moved(**more: object) -> dict[str, Any]:
    asked = {"secretId": ARN, "versionStage": "LIVE", "moveToVersionId": VERSION}
    return cloudtrail("UpdateSecretVersionStage", requestParameters=asked, **more)


FORMS = {
    "native": (native(), CURRENT),
    "native, of another label": (native(labelUpdated="LIVE"), Hint(ARN, NAME, "LIVE", VERSION)),
    "put": (PUT, CURRENT),
    "put, without an answer": (
        cloudtrail("PutSecretValue", requestParameters={"secretId": NAME, "clientRequestToken": VERSION}),
        Hint(None, NAME, "AWSCURRENT", VERSION),
    ),
    "put, of a rotation": (
        cloudtrail(
            "PutSecretValue",
            requestParameters={
                "secretId": ARN, "clientRequestToken": VERSION, "versionStages": ["AWSPENDING"]
            },
        ),
        Hint(ARN, None, "AWSPENDING", VERSION),
    ),
    "update, of the description": (
        cloudtrail(
            "UpdateSecret",
            requestParameters={"secretId": NAME, "clientRequestToken": VERSION},
            responseElements={"arn": ARN, "name": NAME},
        ),
        Hint(ARN, NAME, "AWSCURRENT", None),
    ),
    "moved label": (moved(), Hint(ARN, None, "LIVE", VERSION)),
    "rotation": (rotated(ARN), Hint(ARN, None, None, None)),
    "deletion": (
        cloudtrail("DeleteSecret", requestParameters={"secretId": NAME}),
        Hint(None, NAME, None, None),
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wrap", [lambda event: event, from_sns], ids=["bare", "sns"])
def test_every_form_of_a_change_is_understood(form: str, wrap: Any) -> None:
    event, hint = FORMS[form]
    assert read(json.dumps(wrap(event))) == hint


@pytest.mark.parametrize(
    "event",
    [
        cloudtrail("TagResource", requestParameters={"secretId": NAME}),
        cloudtrail("GetSecretValue", requestParameters={"secretId": NAME}),
        moved(errorCode="AccessDenied"),
        {**native(), "detail-type": "Secret Something Else"},
        {**native(), "source": "custom.program"},
        {"Type": "SubscriptionConfirmation", "Token": "x", "SubscribeURL": "https://example.com"},
    ],
)
def test_what_moves_no_label_is_ignored(event: object) -> None:
    assert read(json.dumps(event)) == "ignored"


@pytest.mark.parametrize(
    "body",
    [
        None,
        7,
        "",
        "no json",
        "[]",
        '"text"',
        json.dumps({"detail-type": "Secret Label Updated"}),
        json.dumps({**native(), "resources": [], "detail": {"versionId": VERSION}}),
        json.dumps({**native(name=["x"]), "resources": {"0": ARN}}),
        json.dumps(from_sns("no event")),
        json.dumps(from_sns(from_sns(native()))),
        json.dumps({"Type": "Notification"}),
        "[" * 200_000,
        '{"a":' * 50_000,
        "{" + " " * MAX_BODY_CHARACTERS + "}",
        json.dumps(native()).replace("prod/bot", "prod/bot\\n<2>planted line").replace(ARN, "x"),
    ],
)
def test_what_is_no_event_is_malformed(body: object) -> None:
    assert read(body) == "malformed"


@pytest.mark.parametrize("field", ["labelUpdated", "versionId"])
@pytest.mark.parametrize("value", ["a\nb", "x" * 10_000, {"a": 1}, None, True, "\ud800"])
def test_a_field_that_cannot_be_one_is_left_out_of_the_hint(field: str, value: object) -> None:
    hint = read(json.dumps(native(**{field: value})))
    assert isinstance(hint, Hint)
    assert (hint.label if field == "labelUpdated" else hint.version_id) is None


@pytest.mark.parametrize(
    ("time", "at"),
    [
        ("2026-02-06T16:43:48Z", 1770396228.0),
        ("2026-02-06T16:43:48.250Z", 1770396228.25),
        ("1900-01-01T00:00:00Z", 0.0),
        ("9999-12-31T23:59:59.999999Z", 253402300799.999999),
        *(
            (wrong, None)
            for wrong in ("2026-02-31T00:00:00Z", "2026-02-06", "2026-02-06T16:43:48Z\n", 7, None, {})
        ),
    ],
)
def test_the_time_of_an_event_is_taken_where_it_is_one(time: object, at: float | None) -> None:
    hint = read(json.dumps({**native(), "time": time}))
    assert isinstance(hint, Hint)
    assert hint.at == at
    assert hint == CURRENT, "a hint that comes again with another time is the same"
    told = Received((hint,), 0, 0, {})
    assert decode_message(encode_message(told)) == told, "the conductor takes it"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=12,
)


@st.composite
def _bent(draw: st.DrawFn) -> str:
    """An event that is one, but for a field or two somewhere in it."""
    event = draw(st.sampled_from([native(), PUT, rotated(ARN), moved(), from_sns(native())]))
    event = json.loads(json.dumps(event))
    for _ in range(draw(st.integers(1, 3))):
        place = event if draw(st.booleans()) or not isinstance(event.get("detail"), dict) else event["detail"]
        place[draw(st.sampled_from(sorted(place) or ["detail"]) | st.text(max_size=10))] = draw(_JSON)
    return json.dumps(event)


@settings(max_examples=400, deadline=None)
@given(
    st.text(max_size=300) | _JSON.map(json.dumps) | _bent() | _bent().map(lambda text: text[: len(text) // 2])
)
def test_no_message_raises_and_every_hint_passes_the_check_at_the_conductor(body: str) -> None:
    result = read(body)
    assert isinstance(result, Hint) or result in ("ignored", "malformed")
    if isinstance(result, Hint):
        told = messages.Received((result,), 0, 0, {})
        assert messages.decode_message(messages.encode_message(told)) == told


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({**native(), "padding": "x" * 250_000}),
        '{"n": ' + "9" * 250_000 + "}",
        '{"n": ' + "[" * 250_000,
        json.dumps({**native(), "detail": {"name": "a" * 250_000}}),
        json.dumps({"a": [0] * 80_000}),
    ],
    ids=["padding", "number", "depth", "name", "list"],
)
def test_the_largest_message_takes_no_time(body: str) -> None:
    before = time.process_time()
    read(body)
    assert time.process_time() - before < 0.2


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b'{"kind":"received","hints":[],"ignored":0,"malformed":-1,"calls":{}}',
        b'{"kind":"received","hints":[],"ignored":0,"malformed":99,"calls":{}}',
        b'{"kind":"received","hints":[{"name":"a\\nb"}],"ignored":0,"malformed":0,"calls":{}}',
        b'{"kind":"received","hints":[],"ignored":0,"malformed":0,"calls":{"Made-up":1}}',
        b'{"kind":"received","hints":[],"ignored":0,"malformed":0,"calls":{"ReceiveMessage":1e9}}',
        b'{"kind":"received","hints":[{"arn":"arn:aws:s3:::x"}],"ignored":0,"malformed":0,"calls":{}}',
        b'{"kind":"published"}',
    ],
)
def test_the_conductor_takes_no_malformed_line(line: bytes) -> None:
    with pytest.raises(ValueError, match="unknown shape"):
        messages.decode_message(line)
