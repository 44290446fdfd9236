"""A secret's value as a JSON object, as the contract reads one. Pure; no parser's own error travels."""

from __future__ import annotations

import codecs
import json

DUPLICATE = object()  # stands for a member whose key the object holds twice


class NumberText(str):
    """A JSON number as its source text."""

    __slots__ = ()


def parse_object(payload: bytes) -> dict[str, object] | str:
    """The members of a JSON object; or why it is none, as the end of a sentence.

    Numbers are `NumberText`, members that stand twice `DUPLICATE`; the rest is as json has it.
    """
    if payload.startswith(codecs.BOM_UTF8):
        return "starts with a byte order mark, which JSON does not have"
    try:
        document = json.loads(
            payload.decode("utf-8"),
            parse_int=NumberText,
            parse_float=NumberText,
            parse_constant=_refuse_constant,
            object_pairs_hook=_members,
        )
    except UnicodeDecodeError:
        return "is not UTF-8"
    except json.JSONDecodeError as error:
        return f"is not valid JSON: see line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError):
        return "is not valid JSON"
    return document if isinstance(document, dict) else "is JSON, but not an object"


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for key, value in pairs:
        members[key] = DUPLICATE if key in members else value
    return members


def _refuse_constant(_text: str) -> object:
    raise ValueError("NaN and Infinity are not JSON")
