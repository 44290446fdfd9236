"""What one variable's rule demands of a value. Pure; answers name the rule's bounds, never the value."""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal, InvalidOperation

from secretsd.config.variables import VariableRule


def broken_rule(rule: VariableRule, value: bytes) -> str | None:
    """The first thing that `value` breaks, as the end of a sentence ("is shorter than 16 characters")."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return "is not UTF-8"
    for check in (_type_and_range, _length, _choice, _pattern, _entropy):
        if broken := check(rule, text):
            return broken
    return None


def _type_and_range(rule: VariableRule, text: str) -> str | None:
    if rule.type == "boolean":
        return None if text in ("true", "false") else "is not true or false"
    if rule.type == "string":
        return None
    if rule.type == "integer" and not (text.isascii() and text.removeprefix("-").isdigit()):
        return "is not an integer"
    number = _decimal(text)
    if number is None:
        return "is not a decimal number"
    if rule.min is not None and number < rule.min:
        return f"is below min = {rule.min}"
    if rule.max is not None and number > rule.max:
        return f"is above max = {rule.max}"
    return None


def _decimal(text: str) -> Decimal | None:
    # Decimal() also takes blanks, underscores, "NaN" and other scripts' digits; a bot's parser may not.
    if not text.isascii() or not set(text) <= set("+-.eE0123456789"):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _length(rule: VariableRule, text: str) -> str | None:
    if rule.min_length is not None and len(text) < rule.min_length:
        return f"is shorter than {rule.min_length} characters"
    if rule.max_length is not None and len(text) > rule.max_length:
        return f"is longer than {rule.max_length} characters"
    return None


def _choice(rule: VariableRule, text: str) -> str | None:
    if rule.choices is not None and text not in rule.choices:
        return f"is none of {', '.join(rule.choices)}"
    return None


def _pattern(rule: VariableRule, text: str) -> str | None:
    if rule.compiled_pattern is not None and rule.compiled_pattern.fullmatch(text) is None:
        return "does not match its pattern"
    return None


def _entropy(rule: VariableRule, text: str) -> str | None:
    if rule.min_entropy_bits is not None and entropy_bits(text) < rule.min_entropy_bits:
        return f"has less than {rule.min_entropy_bits:g} bits of entropy"
    return None


def entropy_bits(text: str) -> float:
    """Length times the Shannon entropy of the text's own characters, in bits.

    An upper bound that finds "aaaaaaaaaaaaaaaa" and "changeme"; it cannot tell a key from a long sentence.
    """
    length = len(text)
    return sum(count * math.log2(length / count) for count in Counter(text).values())
