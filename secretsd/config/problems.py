"""Turns what pydantic found into lines for an operator. No line holds a value: one may be a pasted secret."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

from secretsd.config.fields import REFUSED
from secretsd.config.models import (
    Bundle,
    Config,
    Daemon,
    OnChange,
    Output,
    Secret,
    SourceConfig,
    Table,
    VariableRule,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from secretsd.config.files import Tables
    from secretsd.config.positions import KeyPath

_ANY = "*"
_TABLES: Mapping[tuple[str, ...], type[Table]] = {
    (): Config,
    ("daemon",): Daemon,
    ("sources", _ANY): SourceConfig,
    ("bundles", _ANY): Bundle,
    ("bundles", _ANY, "secrets", _ANY): Secret,
    ("bundles", _ANY, "variables", _ANY): VariableRule,
    ("bundles", _ANY, "outputs", _ANY): Output,
    ("bundles", _ANY, "on_change", _ANY): OnChange,
}
_MEANING = {
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "greater_than_equal": "must not be negative",
    "tuple_type": "must be an array",
    "mapping_type": "must be a table",
    "dict_type": "must be a table",
    "model_type": "must be a table",
}
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
    found = get_close_matches(word, list(known), n=1)
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
    return [_problem(each) for each in details if not (each["type"] == "missing" and each["loc"] in meant)]


def known_keys(path: KeyPath) -> list[str]:
    """The keys that the table at `path` may hold; none where no table is foreseen or its keys are free."""
    table = _table_at(path)
    fields = table.model_fields.items() if table else ()
    return [field.alias or name for name, field in fields]


def _table_at(path: KeyPath) -> type[Table] | None:
    # Every second part of a path is a name that the operator chose, or an index.
    return _TABLES.get(tuple(_ANY if index % 2 else str(part) for index, part in enumerate(path)))


def _problem(detail: ErrorDetails) -> Problem:
    path: KeyPath = detail["loc"]
    if path[-1] == "[key]":
        return Problem(path[:-1], f"the name {path[-2]!r} {detail['msg']}")
    match detail["type"]:
        case "extra_forbidden":
            known = known_keys(path[:-1])
            hint = did_you_mean(str(path[-1]), known) or f"; known here: {', '.join(known)}"
            return Problem(path, f"unknown key {path[-1]!r}{hint}")
        case "missing":
            return Problem(path, f"{path[-1]!r} is missing here")
        case "literal_error":
            return Problem(path, f"{_named(path)} {_one_of(path, detail['input'])}")
        case kind if kind == REFUSED and _table_at(path):
            key: Any = detail["ctx"]["key"]
            return Problem((*path, key) if key else path, detail["msg"])
        case kind if kind == REFUSED:
            return Problem(path, f"{_named(path)} {detail['msg']}")
        case kind:
            return Problem(path, f"{_named(path)} {_MEANING.get(kind, 'is not valid here')}")


def _one_of(path: KeyPath, value: object) -> str:
    table = _table_at(path[:-1])
    annotation = table.model_fields[str(path[-1])].annotation if table else None
    allowed = [f'"{word}"' for word in get_args(annotation)]
    near = nearest(f'"{value}"', allowed) if len(allowed) > 1 else None
    return f"must be {' or '.join(allowed)}" + (f"; did you mean {near}?" if near else "")


def _named(path: KeyPath) -> str:
    """What a reader of the file calls it: an element of an array has no key of its own."""
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    return repr(key) if path[-1] == key else f"an element of {key!r}"
