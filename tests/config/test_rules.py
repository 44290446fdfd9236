from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretsd.config.rules import broken_rule, entropy_bits
from secretsd.config.variables import VariableRule
from tests.canary.scan import shows
from tests.canary.spellings import MARKER

INTEGER = {"type": "integer", "min": 1, "max": 10}
DECIMAL = {"type": "decimal", "min": 0, "max": 1}
BOOLEAN = {"type": "boolean"}
MODE = {"choices": ["paper", "live"]}
HOOK = {"pattern": r"https://hooks\.example/.*"}


def broken(rule: dict[str, Any], value: bytes) -> str | None:
    return broken_rule(VariableRule.model_validate(rule), value)


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ({}, b""), ({}, b"a\nb"), (INTEGER, b"1"), (INTEGER, b"10"),
        ({"type": "integer"}, b"-" + b"9" * 5000),
        (DECIMAL, b"0.1"), (DECIMAL, b"1e-3"), (DECIMAL, b"1.0"), (BOOLEAN, b"true"), (BOOLEAN, b"false"),
        (MODE, b"paper"), (HOOK, b"https://hooks.example/x"),
        ({"min_length": 3}, "äöü".encode()), ({"max_length": 3}, "äöü".encode()),
        ({"min_entropy_bits": 80}, b"7hX0q/Lm2ZkP9vTeR4wYbN"),
        ({"pattern": "a\nb"}, b"a\nb"), ({"pattern": "(?s)a.b"}, b"a\nb"), ({"pattern": ""}, b""),
        ({"choices": [""]}, b""), ({"min_length": 0, "max_length": 0}, b""),
        ({"min_length": 1, "max_length": 1}, "\U0001f511".encode()), ({"type": "decimal"}, b"1e400"),
    ],
)  # fmt: skip
def test_what_satisfies_its_rule_passes(rule: dict[str, Any], value: bytes) -> None:
    assert broken(rule, value) is None


@pytest.mark.parametrize(
    ("rule", "value", "says"),
    [
        ({}, b"\xff", "UTF-8"),
        (INTEGER, b"0", "below min = 1"), (INTEGER, b"11", "above max = 10"), (INTEGER, b"1.5", "integer"),
        (INTEGER, b"", "integer"), (INTEGER, b"-", "integer"), (INTEGER, b" 1", "integer"),
        (INTEGER, b"1_0", "integer"),
        (INTEGER, b"+1", "integer"), (INTEGER, b"--1", "integer"), (INTEGER, b"1\n", "integer"),
        (INTEGER, "\u0661".encode(), "integer"), (INTEGER, "\u00b2".encode(), "integer"),
        (DECIMAL, b"nan", "decimal"), (DECIMAL, b"Infinity", "decimal"), (DECIMAL, b"1_0", "decimal"),
        (DECIMAL, b" 0.5", "decimal"), (DECIMAL, b"", "decimal"), (DECIMAL, b"0.5.5", "decimal"),
        (DECIMAL, b"1.1", "above"), (DECIMAL, b"-0.1", "below"), (DECIMAL, b"1e999999", "above"),
        (DECIMAL, b"1e99999999999999999999", "decimal"), (DECIMAL, b"1" * 5000, "above"),
        (BOOLEAN, b"True", "true or false"), (BOOLEAN, b"1", "true or false"),
        (BOOLEAN, b"true\n", "true or false"),
        (MODE, b"LIVE", "paper, live"), (MODE, b"live ", "paper, live"),
        (HOOK, b"https://hooks.example", "pattern"), (HOOK, b"https://hooksXexample/x", "pattern"),
        (HOOK, b"xhttps://hooks.example/x", "pattern"), (HOOK, b"https://hooks.example/x\ny", "pattern"),
        ({"min_length": 4}, "äöü".encode(), "shorter than 4"), ({"max_length": 2}, b"abc", "longer than 2"),
        ({"min_length": 1}, b"", "shorter"), ({"min_entropy_bits": 20}, b"a" * 400, "20 bits"),
        ({"min_entropy_bits": 80}, b"changeme", "80 bits"),
        (DECIMAL, "\u0660.\u0661".encode(), "decimal"), (DECIMAL, "\uff11".encode(), "decimal"),
        (DECIMAL, b"0x1", "decimal"), (DECIMAL, b"1e", "decimal"), (DECIMAL, b"e1", "decimal"),
        (DECIMAL, b"+-1", "decimal"), (DECIMAL, b"0,5", "decimal"), (DECIMAL, b"sNaN", "decimal"),
        ({"pattern": "a$"}, b"a\n", "pattern"), ({"pattern": "(?m)^a$"}, b"a\nb", "pattern"),
        ({"pattern": ""}, b"x", "pattern"), ({"pattern": "[0-9]"}, "\u0661".encode(), "pattern"),
        ({"choices": ["a"]}, b"", "none of a"), ({"max_length": 0}, b"x", "longer than 0"),
    ],
)  # fmt: skip
def test_what_breaks_its_rule_is_refused_by_the_rules_own_words(
    rule: dict[str, Any], value: bytes, says: str
) -> None:
    assert says in (broken(rule, value) or "")


@pytest.mark.parametrize(
    "value",
    [
        b"1e999999999", b"-1e999999999", b"1e-999999999", b"9" * 65_536, b"0." + b"0" * 65_000 + b"1",
        b"1e" + b"9" * 60_000, b"-" * 65_536, b"." * 65_536, b"9" * 60_000 + b"e-60000", b"0e999999999",
    ],
)  # fmt: skip
@pytest.mark.parametrize("bound", ["1", "1e999999", "1e-999999", "0.1" + "0" * 5000])
@pytest.mark.parametrize("number", ["integer", "decimal"])
def test_no_number_takes_long_to_compare(value: bytes, bound: str, number: str) -> None:
    before = time.process_time()
    for end in ("min", "max"):
        said = broken({"type": number, end: Decimal(bound)}, value)
        assert said is None or len(said) < 6000
    assert time.process_time() - before < 0.2


def test_a_decimal_beyond_what_decimal_can_hold_is_refused_and_never_rounded() -> None:
    assert broken({"type": "decimal", "max": 1}, b"1." + b"0" * 60_000 + b"1") == "is above max = 1"
    assert broken({"type": "decimal", "min": 1}, b"0." + b"9" * 60_000) == "is below min = 1"


@given(value=st.binary(min_size=6), rule=st.sampled_from([INTEGER, DECIMAL, BOOLEAN, MODE, HOOK]))
def test_no_answer_holds_a_value(value: bytes, rule: dict[str, Any]) -> None:
    marked = MARKER.encode() + value
    assert not shows(broken(rule, marked) or "")


@given(st.text())
def test_entropy_is_never_negative_nor_more_than_random_text_has(text: str) -> None:
    assert 0 <= entropy_bits(text) <= 21 * len(text) + 1e-6
