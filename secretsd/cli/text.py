"""Text for a terminal: what may be printed, how wide it is, tables and colours. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

BOLD, RED, GREEN, YELLOW = "1", "31", "32", "33"

# Where a text must not be broken over two lines; printed as a space.
NO_BREAK = "\u00a0"

_GAP = "  "
_NARROWEST = 24  # a last column with less room than this goes below its row
_INDENT = "    "


class View(NamedTuple):
    """What a screen is made for. `columns` is None where lines may be of any length: a pipe, a file."""

    now: datetime
    columns: int | None = None
    color: bool = False


class Cell(NamedTuple):
    """A table's cell; `color` is an SGR code, or nothing."""

    text: str
    color: str = ""


def printable(text: str) -> str:
    """The text without anything that a terminal would obey: control characters become escapes."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def clean(value: Any) -> Any:
    """A JSON document of which every string is printable: names in it come from outside of this host."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, dict):
        return {printable(key): clean(item) for key, item in value.items()}
    return value


def width(text: str) -> int:
    """How many columns a terminal takes for it."""
    if text.isascii():
        return len(text)
    import unicodedata  # rarely needed, and a module of its own on disk

    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def paint(text: str, color: str, view: View) -> str:
    return f"\x1b[{color}m{text}\x1b[0m" if view.color and color else text


def table(rows: Sequence[Sequence[str | Cell]], view: View, *, indent: str = "") -> list[str]:
    """Aligned lines, the first row as headings. The last column is wrapped to the view's width."""
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    widths = [max(width(row[column].text) for row in cells) for column in range(len(cells[0]) - 1)]
    start = len(indent) + sum(widths) + len(_GAP) * len(widths)
    lines: list[str] = []
    for number, row in enumerate(cells):
        heading = BOLD if number == 0 else ""
        padded = [
            paint(cell.text, cell.color or heading, view) + " " * (wide - width(cell.text))
            for cell, wide in zip(row[:-1], widths, strict=True)
        ]
        last = row[-1]
        head = indent + "".join(f"{cell}{_GAP}" for cell in padded)
        lines += _with_last(head, start, last._replace(color=last.color or heading), view)
    return lines


def _with_last(head: str, start: int, last: Cell, view: View) -> list[str]:
    room = None if view.columns is None else view.columns - start
    if room is None or width(last.text) <= room:
        text = paint(last.text.replace(NO_BREAK, " "), last.color, view)
        return [f"{head}{text}".rstrip()]
    if room < _NARROWEST and view.columns is not None:
        below = wrapped(last.text, view.columns - len(_INDENT))
        return [head.rstrip(), *(_INDENT + paint(line, last.color, view) for line in below)]
    first, *more = wrapped(last.text, room)
    return [head + paint(first, last.color, view), *(" " * start + paint(m, last.color, view) for m in more)]


def wrapped(text: str, columns: int) -> list[str]:
    """The words of the text in lines of at most `columns`; a word longer than that has a line of its own."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and width(longer) > columns:
            lines.append(word)
        else:
            lines[-1] = longer
    return [line.replace(NO_BREAK, " ") for line in lines]


def sentence(text: str, view: View, *, indent: str = "  ") -> list[str]:
    """A text for people, indented, and wrapped where the view has a width."""
    if view.columns is None:
        return [f"{indent}{text}"]
    room = max(view.columns - len(indent), _NARROWEST)
    first, *more = wrapped(text, room)
    return [f"{indent}{first}", *(f"{indent}{line}" for line in more)]


def short(version: str) -> str:
    """A version id for a narrow column: the first part of a UUID names it well enough."""
    return version.partition("-")[0] if len(version) == 36 and version.count("-") == 4 else version
