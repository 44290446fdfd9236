"""Turns what pydantic found into lines for an operator. No line holds a value: one may be a pasted secret."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from secretsd.config.fields import REFUSED
from secretsd.config.tables import known_keys, resolved, tables_at, tags_of, words_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from secretsd.config.files import Tables
    from secretsd.config.positions import KeyPath

_MEANING = {
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "greater_than_equal": "must not be negative",
    "tuple_type": "must be an array",
    "mapping_type": "must be a table",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
}
_MANY_WORDS = 100
_CONSEQUENCE = "default_factory_not_called"  # pydantic's word for "something else in this table is wrong"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: the key at fault, a sentence and, where a second place matters, the key at its end.

    `path` may lead to a key that does not exist; the line is then the one of the table around it.
    """

    path: KeyPath
    text: str
    other: KeyPath | None = None


def rendered(problem: Problem, tables: Tables) -> str:
    """ "FILE:LINE: text"."""
    second = "" if problem.other is None else f" at {tables.place(problem.other)}"
    return f"{tables.place(problem.path)}: {problem.text}{second}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown `word`; empty where nothing known resembles it."""
    near = nearest(word, known)
    return f"; did you mean {near!r}?" if near else ""


def nearest(word: str, known: Iterable[str]) -> str | None:
    return _nearest(word, tuple(known))


@lru_cache(maxsize=4096)  # a mistake is looked at several times on its way
def _nearest(word: str, known: tuple[str, ...]) -> str | None:
    from difflib import get_close_matches  # only for who has mistyped

    if len(known) > _MANY_WORDS:
        # Comparing costs a millisecond for a hundred words; a thousand mistakes must not take minutes.
        known = tuple(each for each in known if each[:2].lower() == word[:2].lower())[:_MANY_WORDS]
    found = get_close_matches(word, known, n=1)
    return found[0] if found else None


def explained(error: ValidationError) -> list[Problem]:
    """A problem for each mistake that pydantic found in the whole configuration."""
    details = [each for each in error.errors(include_url=False) if each["type"] != _CONSEQUENCE]
    # A misspelt key is one mistake, not two: the key it was meant to be is not reported as missing.
    meant = {
        (*each["loc"][:-1], nearest(str(each["loc"][-1]), known_keys(each["loc"][:-1])))
        for each in details
        if each["type"] == "extra_forbidden"
    }
    wanted = [each for each in details if not (each["type"] == "missing" and each["loc"] in meant)]
    return [problem for each in wanted for problem in _problems(each)]


def _problems(detail: ErrorDetails) -> Iterator[Problem]:
    location = detail["loc"]
    path, _ = resolved(location)
    if path[-1] == "[key]":
        yield Problem(path[:-1], f"the name {path[-2]!r} {detail['msg']}")
        return
    match detail["type"]:
        case "extra_forbidden":
            yield _unknown_key(path, known_keys(location[:-1]))
        case "missing":
            yield Problem(path, f"{path[-1]!r} is missing here")
        case "literal_error":
            yield Problem(path, f"{_named(path)} {_one_of(words_at(location), detail['input'])}")
        case "union_tag_not_found" | "union_tag_invalid":
            yield from _untold(path, detail["input"])
        case kind if kind == REFUSED and tables_at(location):
            key: Any = detail["ctx"]["key"]
            yield Problem((*path, key) if key else path, detail["msg"])
            yield from (Problem(path, text) for text in detail["ctx"]["also"])
        case kind if kind == REFUSED:
            yield Problem(path, f"{_named(path)} {detail['msg']}")
        case kind:
            yield Problem(path, f"{_named(path)} {_MEANING.get(kind, 'is not valid here')}")


def _unknown_key(path: KeyPath, known: list[str]) -> Problem:
    hint = did_you_mean(str(path[-1]), known) or f"; known here: {', '.join(known)}"
    return Problem(path, f"unknown key {path[-1]!r}{hint}")


def _untold(path: KeyPath, table: object) -> Iterator[Problem]:
    """What is wrong with a table whose `type` tells nothing; a key that no type knows is always wrong."""
    if not isinstance(table, dict):
        yield Problem(path, f"{_named(path)} {_MEANING['model_type']}")
        return
    known = known_keys(path)
    strangers = [key for key in table if key not in known]
    if "type" in table:
        types = tuple(tag for each in tables_at(path) for tag in tags_of(each))
        yield Problem((*path, "type"), f"'type' {_one_of(types, table['type'])}")
    elif not any(nearest(key, known) == "type" for key in strangers):
        yield Problem((*path, "type"), "'type' is missing here")
    for key in strangers:
        yield _unknown_key((*path, key), known)


def _one_of(words: tuple[str, ...], value: object) -> str:
    allowed = [f'"{word}"' for word in words]
    near = nearest(f'"{value}"', allowed) if len(allowed) > 1 else None
    return f"must be {' or '.join(allowed)}" + (f"; did you mean {near}?" if near else "")


def _named(path: KeyPath) -> str:
    """What a reader of the file calls it: an element of an array has no key of its own."""
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    return repr(key) if path[-1] == key else f"an element of {key!r}"
