"""The tables and keys of the configuration as a manual tells them: read from the models, never by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from secretsd.config.fields import TIME_SPAN, Kind
from secretsd.config.models import Config
from secretsd.config.table import Table
from secretsd.config.tables import ANY, fields_of, is_table, item_of, members, tag_of, words_of
from secretsd.config.toml_text import inline

_BASIC = {str: "string", bool: "true or false", int: "whole number", float: "number"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table."""

    name: str
    kind: str  # what its values are, in words
    default: str | None  # as TOML; None where there is none, or where the description has to say it
    is_required: bool
    description: str
    examples: tuple[object, ...]
    beside: dict[str, object]  # what the examples need in the same table


@dataclass(frozen=True, slots=True)
class Section:
    """One kind of table. `path` has `ANY` for a name of the operator's or an index."""

    path: tuple[str, ...]
    header: str  # "[daemon]", "[[bundles.NAME.secrets]]"
    tag: tuple[str, ...]  # the key that tells the tables of a union apart, and its word; else empty
    intro: str
    keys: tuple[Key, ...]


def sections() -> list[Section]:
    """All tables, each before those inside it."""
    return [
        Section(
            path=path,
            header=header,
            tag=tag_of(table),
            intro=_intro(table),
            keys=tuple(_key(name, each) for name, each in fields_of(table).items()),
        )
        for path, header, table in _tables_below((), "", Config)
    ]


def _tables_below(
    path: tuple[str, ...], name: str, table: type[Table]
) -> Iterator[tuple[tuple[str, ...], str, type[Table]]]:
    """Path, header and class of every table inside of `table`."""
    for key, each in fields_of(table).items():
        for kind in members(each.annotation):
            inner = f"{name}.{key}" if name else key
            yield from _tables_at((*path, key), inner, kind, is_element=False)


def _tables_at(
    path: tuple[str, ...], name: str, kind: Any, *, is_element: bool
) -> Iterator[tuple[tuple[str, ...], str, type[Table]]]:
    if is_table(kind):
        yield path, f"[[{name}]]" if is_element else f"[{name}]", kind
        yield from _tables_below(path, name, kind)
        return
    is_array = _is_array(kind)
    for item in members(item_of(kind)):
        placeholder = "VARIABLE" if path[-1] == "variables" else "NAME"
        inner = name if is_array else f"{name}.{placeholder}"
        yield from _tables_at((*path, ANY), inner, item, is_element=is_array)


def _key(name: str, each: FieldInfo) -> Key:
    extra = each.json_schema_extra
    beside = extra.get("beside") if isinstance(extra, dict) else None
    return Key(
        name=name,
        kind=_kind(each.annotation, each.metadata),
        default=_default(each),
        is_required=each.is_required(),
        description=each.description or "",
        examples=tuple(each.examples or ()),
        beside=dict(beside) if isinstance(beside, dict) else {},
    )


def _kind(annotation: Any, metadata: list[Any]) -> str:
    """The values in words, without an article."""
    if words := [each.words for each in metadata if isinstance(each, Kind)]:
        return str(words[-1])
    if hasattr(annotation, "__metadata__"):
        return _kind(get_args(annotation)[0], list(annotation.__metadata__))
    kinds = members(annotation)
    if len(kinds) != 1 or annotation is not kinds[0]:
        inner = [each for each in get_args(annotation) if members(each)]
        return " or ".join(dict.fromkeys(_kind(each, []) for each in inner))
    if literals := words_of(annotation):
        return " or ".join(map(inline, literals))
    if is_table(annotation):
        return "table"
    item = item_of(annotation)
    if item is not None:
        holds = "tables" if any(map(is_table, members(item))) else _kind(item, [])
        holds = "strings" if holds == "string" else holds
        return f"array of {holds}" if _is_array(annotation) else f"table of {holds}"
    return _BASIC.get(annotation, "value")


def _is_array(annotation: Any) -> bool:
    return get_origin(annotation) is tuple


def _default(each: FieldInfo) -> str | None:
    default = each.default
    is_size = any(isinstance(kind, Kind) and kind.words.startswith("size") for kind in each.metadata)
    is_span = any(isinstance(kind, Kind) and kind.words.startswith(TIME_SPAN) for kind in each.metadata)
    match default:
        case float() if is_span:
            return inline(_span(default))
        case int() if is_size:
            return inline(f"{default >> 20}M")
        case Path():
            return inline(str(default))
        case None | () | tuple():
            return None
        case _ if default is PydanticUndefined:
            return None
    return inline(default)


def _span(seconds: float) -> str:
    """As an operator would write it: "5m", "30s", "1h 30m", "7d"."""
    parts = []
    left = seconds
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count:g}{unit}")
    return " ".join([*parts, *([f"{left:g}s"] if left or not parts else [])])


def _intro(table: type[Table]) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (table.__doc__ or "").split("\n\n") if part.strip())
