"""A survey draws a bundle's rules from what its secrets hold, and tells nothing of what they hold."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretsd.cli.screens import schema
from secretsd.cli.text import View
from secretsd.config.load import load
from secretsd.config.models import Bundle
from secretsd.control.report import survey_document
from secretsd.model import FetchedSecret, Survey
from secretsd.refresh.worker.survey import survey
from secretsd.refresh.worker.validate import Variables, validate
from tests.canary.scan import shows
from tests.canary.spellings import MARKER
from tests.refresh.fakes import bundle

VIEW = View(datetime.now(UTC))

HEAD = """
[daemon]
runtime_dir = "/run/elsewhere"
[sources.aws]
type = "aws-secretsmanager"
[bundles.bot]
secrets = [{ source = "aws", id = "prod/bot" }]
"""


def surveyed(wanted: Bundle, *payloads: bytes, name: str = "bot") -> Survey:
    return survey(name, wanted, fetched(wanted, *payloads))


def fetched(wanted: Bundle, *payloads: bytes) -> dict[object, FetchedSecret]:
    return {
        secret.ref: FetchedSecret(secret.ref, "v1", None, payload)
        for secret, payload in zip(wanted.secrets, payloads, strict=True)
    }  # type: ignore[return-value]


def drafted(wanted: Bundle, *payloads: bytes, name: str = "bot") -> str:
    return schema.screen(survey_document(surveyed(wanted, *payloads, name=name)), VIEW)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("true", {"type": "boolean"}),
        ('"false"', {"type": "boolean"}),
        ("7", {"type": "integer"}),
        ('"-12"', {"type": "integer"}),
        ("9" * 5000, {"type": "integer"}),
        ("-0", {"type": "integer"}),
        ("0.10", {"type": "decimal"}),
        ('"0.5"', {"type": "decimal"}),
        ("1e400", {"type": "decimal"}),
        ('"007"', {}),
        ('"1e5"', {}),
        ('""', {}),
        ('"+1"', {}),
        ('"True"', {}),
        (f'"{"9" * 19}"', {"min_length": 16}),
        ('"fifteen-chars-x"', {}),
        (f'"{"k" * 16}"', {"min_length": 16}),
        (f'"{"k" * 23}"', {"min_length": 16}),
        (f'"{"k" * 24}"', {"min_length": 24}),
        (f'"{"k" * 5000}"', {"min_length": 64}),
        ('"\u0661\u0661"', {}),
        ("null", {"required": False}),
    ],
)
def test_each_kind_of_value_has_its_rule(value: str, rule: dict[str, object]) -> None:
    text = drafted(bundle(), f'{{"TOKEN": {value}}}'.encode())
    assert tomllib.loads(text)["bundles"]["bot"]["variables"] == {"TOKEN": rule}


def test_what_no_rule_can_be_drafted_for_says_why() -> None:
    payload = json.dumps(
        {
            "a-b": MARKER,
            "LD_PRELOAD": MARKER,
            "LIST": [MARKER],
            "S": f"{MARKER}\ud800",
            "\n[x]\nA": 1,
            "GOOD": "x",
        }
    ).replace('"GOOD": "x"', '"GOOD": "x", "TWICE": 1, "TWICE": 2')
    text = drafted(bundle(), payload.encode())
    table = tomllib.loads(text)
    assert table == {"bundles": {"bot": {"variables": {"GOOD": {}}}}}
    assert [line.partition(" of prod/bot ")[0] for line in text.splitlines() if " of prod/bot " in line] == [
        "# \\n[x]\\nA",
        "# LD_PRELOAD",
        "# LIST",
        "# S",
        "# TWICE",
        "# a-b",
    ]
    assert "# a-b of prod/bot cannot be a variable's name" in text
    assert not shows(text)


def test_maps_and_whole_values_are_drafted_under_their_variables() -> None:
    wanted = bundle(
        secrets=[
            {"source": "aws", "id": "a", "variables": {"KEY": "api key", "GONE": "gone"}},
            {"source": "aws", "id": "b", "variable": "PEM"},
            {"source": "aws", "id": "c", "variable": "RAW"},
            {"source": "aws", "id": "d"},
            {"source": "aws", "id": "e"},
        ]
    )
    text = drafted(
        wanted,
        b'{"api key": "x", "other": 1}',
        b"-----BEGIN FAKE-----",
        b"\xff",
        b'{"KEY": 1, "TWO": 2}',
        b'"no object"',
    )
    assert tomllib.loads(text)["bundles"]["bot"]["variables"] == {
        "KEY": {},
        "PEM": {"min_length": 16},
        "TWO": {"type": "integer"},
    }
    reasons = {
        (each.secret, each.key): each.reason
        for each in surveyed(
            wanted, b'{"api key": "x", "other": 1}', b"x", b"\xff", b'{"KEY": 1, "TWO": 2}', b"{}"
        ).left_out
    }
    assert reasons == {
        ("a", "gone"): "absent",
        ("a", "other"): "unmapped",
        ("c", "RAW"): "not-utf8",
        ("d", "KEY"): "ambiguous",
    }


def test_a_bundle_with_a_dot_in_its_name_is_quoted() -> None:
    assert tomllib.loads(drafted(bundle(), b'{"A": 1}', name="bot.v2"))["bundles"] == {
        "bot.v2": {"variables": {"A": {"type": "integer"}}}
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
names = st.sampled_from(["A", "B_2", "PATH", "x y", "", "\ud800", "#", "\x1b[31m"]) | st.text(max_size=5)


@given(members=st.dictionaries(names, json_values, max_size=8))
def test_a_draft_can_be_pasted_back_and_accepts_what_it_was_drafted_from(
    tmp_path_factory: pytest.TempPathFactory, members: dict[str, object]
) -> None:
    payload = json.dumps(members).encode()
    text = drafted(bundle(), payload)
    config = tmp_path_factory.mktemp("draft", numbered=True) / "secretsd.toml"
    if not tomllib.loads(text)["bundles"]["bot"]["variables"]:
        assert "# Nothing that they hold can be a variable." in text
        return
    config.write_text(HEAD + text, encoding="utf-8")
    wanted = load(config).bundles["bot"]
    found = validate(wanted, fetched(wanted, payload))  # type: ignore[arg-type]
    assert isinstance(found, Variables), found


@given(st.binary(max_size=100), st.booleans())
def test_whatever_bytes_come_there_is_a_survey_of_what_they_are(payload: bytes, is_whole: bool) -> None:
    secret = {"source": "aws", "id": "a", **({"variable": "X"} if is_whole else {})}
    found = surveyed(bundle(secrets=[secret]), payload)
    assert len(found.variables) + len(found.left_out) >= is_whole


def test_a_survey_holds_no_value_and_no_exact_length() -> None:
    payload = json.dumps({"TOKEN": MARKER * 3 + "x", "N": 987654321, "L": [MARKER], "D": "12.75"}).encode()
    told = repr(asdict(surveyed(bundle(), payload)))
    assert "TOKEN" in told
    assert not shows(told)
    assert not any(word in told for word in ("987654321", "12.75", str(len(MARKER) * 3 + 1)))


def test_the_draft_is_written_where_it_says(tmp_path: Path) -> None:
    assert drafted(bundle(), b'{"A": true}').splitlines()[-2:] == [
        "[bundles.bot.variables]",
        'A = { type = "boolean" }',
    ]
