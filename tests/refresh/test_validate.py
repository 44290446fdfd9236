from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretsd.config.models import Bundle
from secretsd.errors import Failure, FailureClass
from secretsd.model import FetchedSecret
from secretsd.refresh.worker.validate import Variables, validate
from tests.canary.spellings import MARKER
from tests.refresh.fakes import bundle


def outcome(wanted: Bundle, *payloads: bytes, is_binary: bool = False) -> Variables | tuple[Failure, ...]:
    fetched = {
        secret.ref: FetchedSecret(secret.ref, "v1", None, payload, is_binary)
        for secret, payload in zip(wanted.secrets, payloads, strict=True)
    }
    return validate(wanted, fetched)


def values(wanted: Bundle, *payloads: bytes, is_binary: bool = False) -> dict[str, bytes]:
    found = outcome(wanted, *payloads, is_binary=is_binary)
    assert isinstance(found, Variables), found
    return dict(found.values)


def failures(wanted: Bundle, *payloads: bytes, is_binary: bool = False) -> list[tuple[str, str | None]]:
    found = outcome(wanted, *payloads, is_binary=is_binary)
    assert isinstance(found, tuple)
    assert all(failure.failure_class is FailureClass.DATA for failure in found)
    assert MARKER not in repr(found)
    return [(failure.code, failure.variable) for failure in found]


def secret(secret_id: str = "prod/bot", **keys: object) -> dict[str, object]:
    return {"source": "aws", "id": secret_id, **keys}


BOT = bundle()
WHOLE = bundle(secrets=[secret(variable="TOKEN")], variables={})


def test_only_allowed_names_leave_the_object_and_the_others_are_told() -> None:
    found = outcome(BOT, b'{"TOKEN": "fake", "LD_PRELOAD": "/evil.so", "OTHER": "x"}')
    assert isinstance(found, Variables)
    assert dict(found.values) == {"TOKEN": b"fake"}
    assert found.ignored == {"prod/bot": ("LD_PRELOAD", "OTHER")}


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "BASH_ENV", "NODE_OPTIONS", "A-B", "", "A=B", "A\nB"])
def test_a_wildcard_import_still_takes_no_name_that_runs_code(name: str) -> None:
    every = bundle(import_all=True, variables={})
    assert values(every, json.dumps({name: "x", "GOOD": "y"}).encode()) == {"GOOD": b"y"}


def test_a_wildcard_import_does_not_take_what_another_secret_is_mapped_to() -> None:
    two = bundle(secrets=[secret(), secret("b", variable="TOKEN")], import_all=True, variables={})
    assert values(two, b'{"TOKEN": "wrong", "A": "1"}', b"right") == {"A": b"1", "TOKEN": b"right"}


def test_a_map_renames_and_takes_nothing_else() -> None:
    mapped = bundle(secrets=[secret(variables={"KEY": "api key"})], variables={})
    assert values(mapped, b'{"api key": "fake", "KEY": "no"}') == {"KEY": b"fake"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.10", b"1.10"), ("1e5", b"1e5"), ("-0", b"-0"), ("9" * 5000, b"9" * 5000), ("true", b"true"),
        ("false", b"false"), ('""', b""), ('"a\\u0000b"', b"a\0b"),
        ('"\\ud83d\\ude00"', "\U0001f600".encode()),
        ("123456789012345678901234567890.5", b"123456789012345678901234567890.5"),
    ],
)  # fmt: skip
def test_a_json_value_keeps_its_source_text(text: str, value: bytes) -> None:
    assert values(BOT, f'{{"TOKEN": {text}}}'.encode()) == {"TOKEN": value}


@pytest.mark.parametrize("text", ['{"x": 1}', "[]", "{}", '["' + MARKER + '"]'])
def test_a_nested_value_is_refused_by_name(text: str) -> None:
    assert failures(BOT, f'{{"TOKEN": {text}}}'.encode()) == [("nested-value", "TOKEN")]


@pytest.mark.parametrize("payload", [b"{}", b'{"TOKEN": null}'])
def test_a_missing_key_is_refused_by_name_unless_the_bundle_says_what_then(payload: bytes) -> None:
    assert failures(BOT, payload) == [("variable-missing", "TOKEN")]
    assert values(bundle(variables={"TOKEN": {"required": False}}), payload) == {}
    found = outcome(bundle(variables={"TOKEN": {"default": "d"}}), payload)
    assert isinstance(found, Variables)
    assert (found.values, found.defaults) == ({"TOKEN": b"d"}, ("TOKEN",))


def test_a_default_does_not_stand_in_for_a_wrong_value() -> None:
    careful = bundle(variables={"TOKEN": {"default": "0.1", "type": "decimal"}})
    assert failures(careful, json.dumps({"TOKEN": MARKER}).encode()) == [("rule-broken", "TOKEN")]
    assert failures(careful, b'{"TOKEN": []}') == [("nested-value", "TOKEN")]
    assert values(bundle(variables={"TOKEN": {"default": "d"}}), b'{"TOKEN": ""}') == {"TOKEN": b""}


@pytest.mark.parametrize(
    "payload",
    [
        MARKER.encode(), b"[1]", b'"' + MARKER.encode() + b'"', b"1", b"null", b"\xff" + MARKER.encode(),
        b'{"TOKEN": "' + MARKER.encode(), b'{"TOKEN": NaN}', b'{"TOKEN": -Infinity}', b"{" * 100_000,
        b'{"TOKEN":' + b"[" * 100_000, b'\xef\xbb\xbf{"TOKEN": "x"}', b'{"TOKEN": "a\nb"}', b" ",
        b"{'TOKEN': 'x'}",
    ],
)  # fmt: skip
def test_what_is_no_json_object_says_so_once_and_quotes_nothing(payload: bytes) -> None:
    assert failures(BOT, payload) == [("not-an-object", None)]


def test_binary_where_an_object_is_needed_is_refused_even_if_it_would_parse() -> None:
    assert failures(BOT, b'{"TOKEN": "x"}', is_binary=True) == [("not-an-object", None)]


def test_a_whole_value_is_taken_byte_by_byte() -> None:
    assert values(WHOLE, b'{"TOKEN": "x"}\n') == {"TOKEN": b'{"TOKEN": "x"}\n'}
    assert values(WHOLE, b"\xff\0", is_binary=True) == {"TOKEN": b"\xff\0"}


@pytest.mark.parametrize("wanted", [BOT, WHOLE])
def test_an_empty_secret_is_refused(wanted: Bundle) -> None:
    assert failures(wanted, b"") == [("secret-empty", None)]


def test_a_key_that_stands_twice_is_refused_if_it_would_be_published() -> None:
    assert failures(BOT, b'{"TOKEN": "a", "TOKEN": "b"}') == [("duplicate-key", "TOKEN")]
    assert values(BOT, b'{"TOKEN": "a", "X": "b", "X": "c"}') == {"TOKEN": b"a"}


def test_a_lone_surrogate_is_no_value() -> None:
    assert failures(BOT, b'{"TOKEN": "\\ud800"}') == [("not-utf8", "TOKEN")]


def test_a_key_that_is_no_unicode_can_still_be_told() -> None:
    found = outcome(BOT, b'{"TOKEN": "fake", "x\\ud800": "x"}')
    assert isinstance(found, Variables)
    assert found.ignored == {"prod/bot": ("x\\ud800",)}


def test_a_variable_that_two_secrets_give_is_refused_not_chosen() -> None:
    two = bundle(secrets=[secret("a"), secret("b")])
    assert failures(two, b'{"TOKEN": "1"}', b'{"TOKEN": "2"}') == [("ambiguous-variable", "TOKEN")]
    assert values(two, b'{"TOKEN": "1"}', b"{}") == {"TOKEN": b"1"}


def test_every_reason_is_told_at_once() -> None:
    three = bundle(variables={"A": {"min_length": 9}, "B": {}, "C": {"type": "integer"}})
    assert failures(three, json.dumps({"A": "x", "C": MARKER}).encode()) == [
        ("rule-broken", "A"),
        ("variable-missing", "B"),
        ("rule-broken", "C"),
    ]


def test_a_message_says_where_to_look() -> None:
    (missing,) = outcome(bundle(secrets=[secret(variables={"TOKEN": "api_key"})], variables={}), b"{}")  # type: ignore[misc]
    assert isinstance(missing, Failure)
    assert missing.message == "TOKEN is missing: prod/bot has no key 'api_key' with a value"
    assert missing.advice


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["TOKEN", "B", "PATH", "\ud800", "x y"]), json_values))
def test_whatever_an_object_holds_the_answer_is_names_on_the_list_or_reasons(members: object) -> None:
    found = outcome(bundle(variables={"TOKEN": {}, "B": {"required": False}}), json.dumps(members).encode())
    if isinstance(found, Variables):
        assert set(found.values) <= {"TOKEN", "B"}
        assert "TOKEN" in found.values
    else:
        assert found


@given(st.binary(max_size=200))
def test_whatever_bytes_come_there_is_an_answer(payload: bytes) -> None:
    assert outcome(BOT, payload) is not None


PAIR = bundle(variables={"TOKEN": {"required": False}, "KEY": {}, "SECRET": {}}, groups=[["KEY", "SECRET"]])


@pytest.mark.parametrize(
    "payload", [b"{}", b'{"KEY": null}', b'{"SECRET": null, "KEY": null}', b'{"TOKEN": "fake"}']
)
def test_a_group_may_be_missing_as_a_whole(payload: bytes) -> None:
    assert not {"KEY", "SECRET"} & values(PAIR, payload).keys()


@pytest.mark.parametrize(
    ("payload", "missing"),
    [(b'{"KEY": "fake"}', "SECRET"), (b'{"SECRET": ""}', "KEY"), (b'{"KEY": null, "SECRET": "x"}', "KEY")],
)
def test_half_of_a_group_is_refused_by_the_name_that_is_missing(payload: bytes, missing: str) -> None:
    assert failures(PAIR, payload) == [("group-incomplete", missing)]
    assert values(PAIR, b'{"KEY": "k", "SECRET": "s"}') == {"KEY": b"k", "SECRET": b"s"}


def test_a_group_names_all_that_is_missing_and_nothing_twice() -> None:
    trio = bundle(variables={"A": {"type": "integer"}, "B": {}, "C": {}, "D": {}}, groups=[["A", "B", "C"]])
    assert failures(trio, json.dumps({"A": MARKER}).encode()) == [
        ("rule-broken", "A"),
        ("variable-missing", "D"),
        ("group-incomplete", "B"),
        ("group-incomplete", "C"),
    ]
    assert failures(trio, b'{"A": [], "D": "x"}') == [
        ("nested-value", "A"),
        ("group-incomplete", "B"),
        ("group-incomplete", "C"),
    ]


def test_a_group_over_two_secrets_with_maps_names_the_secret_that_lacks_it() -> None:
    two = bundle(
        secrets=[secret("a", variables={"KEY": "k"}), secret("b", variables={"SECRET": "s"})],
        variables={},
        groups=[["KEY", "SECRET"]],
    )
    (found,) = outcome(two, b'{"k": "fake"}', b"{}")  # type: ignore[misc]
    assert isinstance(found, Failure)
    assert found.message == "SECRET is missing: b has no key 's' with a value"
    assert found.advice == "KEY of the same group has a value: add the key to the secret, or take both away"
    assert values(two, b"{}", b"{}") == {}


def test_what_a_wildcard_import_left_out_is_told_and_what_would_do_harm_comes_first() -> None:
    members = {f"a-{number}": "x" for number in range(100)} | {"PATH": "x", "LD_PRELOAD": "x", "GOOD": "y"}
    found = outcome(bundle(import_all=True, variables={}), json.dumps(members).encode())
    assert isinstance(found, Variables)
    assert list(found.values) == ["GOOD"]
    (told,) = found.ignored.values()
    assert told[:3] == ("LD_PRELOAD", "PATH", "a-0")
    assert told[-1] == "and 82 more"


def test_a_byte_order_mark_is_named() -> None:
    (found,) = outcome(BOT, b'\xef\xbb\xbf{"TOKEN": "x"}')  # type: ignore[misc]
    assert isinstance(found, Failure)
    assert found.message == "prod/bot starts with a byte order mark, which JSON does not have"
