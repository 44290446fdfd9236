"""What a request's fields may be. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from secretsd.errors import UsageError
from secretsd.timespan import parse_timespan

Request = dict[str, object]
Default = TypeVar("Default")

_LONGEST_TIMEOUT_S = 24 * 3600.0
_LONGEST_TEXT_CHARS = 200


def seconds(
    request: Request, key: str, default: Default, *, longest_s: float = _LONGEST_TIMEOUT_S
) -> float | Default:
    """A time span in seconds, a day at the most if nothing else is said. Raises: UsageError."""
    text = request.get(key)
    if text is None:
        return default
    try:
        return min(parse_timespan(str(text)), longest_s)
    except ValueError as error:
        raise UsageError(f"{key}: {error}") from None


def number(request: Request, key: str) -> int | None:
    """A whole number; None where there is none. Raises: UsageError."""
    value = request.get(key)
    if value is None:
        return None
    if type(value) is not int or not 0 < value < 2**63:
        raise UsageError(f"{key} must be a whole number from 1")
    return value


def text(request: Request, key: str) -> str:
    """A short line for people; empty where there is none. Raises: UsageError."""
    value = request.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or not value.isprintable() or len(value) > _LONGEST_TEXT_CHARS:
        raise UsageError(f"{key} must be a line of at most {_LONGEST_TEXT_CHARS} printable characters")
    return value


def must_know(name: str, known: Collection[str], *, kind: str = "bundle", otherwise: str = "") -> None:
    """Raises: UsageError with the nearest known name, or with what to do otherwise."""
    if name not in known:
        from difflib import get_close_matches  # only for who has mistyped

        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else otherwise
        raise UsageError(f"no {kind} {name!r}{'; ' if hint else ''}{hint}")
