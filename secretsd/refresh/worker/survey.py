"""What kinds of values a bundle's secrets hold, for the draft of its rules. Pure; no value leaves it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from secretsd.config.models import Bundle, Secret
from secretsd.config.names import is_dangerous, is_valid_name, shown
from secretsd.model import (
    FetchedSecret,
    LeftOut,
    LeftOutReason,
    SecretRef,
    Survey,
    SurveyedVariable,
    ValueType,
)
from secretsd.refresh.secret_object import DUPLICATE, NumberText, parse_object

# Lengths are told in steps, and not beyond what tells a key from a word.
_STEP_CHARS = 8
_LONG_CHARS = 16
_LONGEST_TOLD_CHARS = 64

# Text that is more likely a number than an identifier: no sign but -, no leading zero, no exponent.
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}", re.ASCII)


def survey(name: str, bundle: Bundle, fetched: Mapping[SecretRef, FetchedSecret]) -> Survey:
    """The bundle's variables by kind, in the order of their names, and the keys that can be none.

    `fetched` holds every secret that the bundle names. A secret that should be an object and is none counts
    as one without keys: refreshing says what is wrong with it.
    """
    findings = _Findings()
    for secret in bundle.secrets:
        for key, variable, member in _members(secret, fetched[secret.ref]):
            if variable is None:
                findings.leave_out(secret, key, "unmapped")
            else:
                findings.look_at(secret, key, variable, member)
    return Survey(
        bundle=name,
        variables=tuple(found for _, found in sorted(findings.variables.items())),
        left_out=tuple(findings.left_out),
    )


_ABSENT = object()


def _members(secret: Secret, fetched: FetchedSecret) -> Iterator[tuple[str, str | None, object]]:
    """Key, the variable it becomes if any, and value."""
    if secret.variable is not None:
        yield secret.variable, secret.variable, fetched.payload
        return
    parsed = {} if fetched.is_binary else parse_object(fetched.payload)
    members = parsed if isinstance(parsed, dict) else {}
    for variable, key in secret.variables.items():
        yield key, variable, members.get(key, _ABSENT)
    for key in sorted(members.keys() - set(secret.variables.values())):
        yield key, None if secret.variables else key, members[key]


@dataclass(slots=True)
class _Findings:
    variables: dict[str, SurveyedVariable] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)

    def look_at(self, secret: Secret, key: str, name: str, member: object) -> None:
        kind = _kind(member)
        if not is_valid_name(name):
            self.leave_out(secret, key, "not-a-name")
        elif is_dangerous(name):
            self.leave_out(secret, key, "dangerous")
        elif isinstance(kind, str):
            self.leave_out(secret, key, kind)
        elif name in self.variables:
            self.leave_out(secret, key, "ambiguous")
        else:
            self.variables[name] = SurveyedVariable(name, *kind)

    def leave_out(self, secret: Secret, key: str, reason: LeftOutReason) -> None:
        self.left_out.append(LeftOut(str(secret.ref), shown(key), reason))


def _kind(member: object) -> tuple[ValueType, int, bool] | LeftOutReason:
    """Type, least length and whether there is a value; or why no rule can be drafted."""
    match member:
        case None:
            return "string", 0, False
        case bool():
            return "boolean", 0, True
        case NumberText():
            return ("integer" if member.removeprefix("-").isdigit() else "decimal"), 0, True
        case str():
            return _kind_of_text(member)
        case bytes():
            try:
                return _kind_of_text(member.decode("utf-8"))
            except UnicodeDecodeError:
                return "not-utf8"
    if member is _ABSENT:
        return "absent"
    return "duplicate" if member is DUPLICATE else "nested"


def _kind_of_text(text: str) -> tuple[ValueType, int, bool] | LeftOutReason:
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "not-utf8"
    if text in ("true", "false"):
        return "boolean", 0, True
    if _INTEGER.fullmatch(text):
        return "integer", 0, True
    if _DECIMAL.fullmatch(text):
        return "decimal", 0, True
    length = min(len(text) // _STEP_CHARS * _STEP_CHARS, _LONGEST_TOLD_CHARS)
    return "string", length if length >= _LONG_CHARS else 0, True
