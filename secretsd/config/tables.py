"""The shape of the configuration, read from its models: which table stands where, and what its keys are."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from secretsd.config.models import Config
from secretsd.config.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo

    from secretsd.config.positions import KeyPath

ANY = "*"  # in a path: a name that the operator chose, or an index
_TAGS = ("type", "method")  # the keys that tell the tables of a union apart
_ROOT: tuple[Any, ...] = (Config,)


def fields_of(table: type[Table]) -> Mapping[str, FieldInfo]:
    """The fields of a table by their keys in a file."""
    return {field.alias or name: field for name, field in table.model_fields.items()}


def known_keys(path: KeyPath) -> list[str]:
    """The keys that the table at `path` may hold; none where no table is foreseen or its keys are free."""
    return list(dict.fromkeys(key for table in tables_at(path) for key in fields_of(table)))


def tables_at(path: KeyPath) -> tuple[type[Table], ...]:
    """The tables that may stand at `path`: several where only a key inside tells which, or none."""
    return tuple(each for each in resolved(path)[1] if is_table(each))


def words_at(path: KeyPath) -> tuple[str, ...]:
    """The words that the key at `path` is limited to; none where it is not."""
    return tuple(word for each in resolved(path)[1] for word in words_of(each))


def resolved(location: KeyPath) -> tuple[KeyPath, tuple[Any, ...]]:
    """The path that pydantic's `location` means, and the types that may stand there.

    Inside of a union pydantic names the member by its tag, which is no key of a file.
    """
    path: KeyPath = ()
    here = _ROOT
    for part in location:
        tagged = tuple(each for each in here if part in tags_of(each)) if len(here) > 1 else ()
        if tagged:
            here = tagged
        else:
            path = (*path, part)
            here = tuple(inner for each in here for inner in members(_below(each, part)))
    return path, here


def members(annotation: Any) -> tuple[Any, ...]:
    """What a value of this type may be: a union's members without None, bare of their metadata."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return members(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return tuple(inner for each in get_args(annotation) for inner in members(each))
    return () if annotation in (None, NoneType) else (annotation,)


def is_table(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Table)


def tags_of(annotation: Any) -> tuple[str, ...]:
    """The word by which a union knows this table, if it has one."""
    return tag_of(annotation)[1:]


def tag_of(annotation: Any) -> tuple[str, ...]:
    """The key by which a union knows this table, and its word there; empty for a table of no union."""
    fields = annotation.model_fields if is_table(annotation) else {}
    for key in fields.keys() & set(_TAGS):
        words = words_of(fields[key].annotation)
        if len(words) == 1:
            return key, *words
    return ()


def words_of(annotation: Any) -> tuple[str, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def item_of(annotation: Any) -> Any:
    """The type of what a mapping or an array holds under names or indices of free choice; else None."""
    arguments = get_args(annotation)
    match get_origin(annotation):
        case None:
            return None
        case origin if isinstance(origin, type) and issubclass(origin, tuple):
            return arguments[0]
        case origin if isinstance(origin, type) and hasattr(origin, "keys"):
            return arguments[1]
    return None


def _below(annotation: Any, part: str | int) -> Any:
    if is_table(annotation):
        field = fields_of(annotation).get(str(part))
        return field.annotation if field else None
    return item_of(annotation)
