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


def table(rows: Sequence[Sequence[str | Cell]], view: View) -> list[str]:
    """Aligned lines, the first row as headings.

    The last column is wrapped to the view's width; where it has no room, it goes below its row.
    """
    widths, start = _widths(rows), start_of_last(rows)
    room = None if view.columns is None else view.columns - start
    lines: list[str] = []
    for number, row in enumerate(rows):
        heading = BOLD if number == 0 else ""
        *cells, last = [_cell(cell, heading) for cell in row]
        head = "".join(_padded(cell, wide, view) for cell, wide in zip(cells, widths, strict=True))
        if room is None or fits(last.text, room):
            lines += _with_last(head, start, last, view)
        else:
            lines += _with_last(f"{head.rstrip()}\n{_INDENT}", len(_INDENT), last, view)
    return lines


def _cell(cell: str | Cell, color: str) -> Cell:
    return cell if isinstance(cell, Cell) and cell.color else Cell(text_of(cell), color)


def _padded(cell: Cell, wide: int, view: View) -> str:
    return f"{paint(cell.text, cell.color, view)}{' ' * (wide - width(cell.text))}{_GAP}"


def fits(text: str, room: int) -> bool:
    """Whether so many columns are enough for the text, in lines of a few words each."""
    longest = max(map(width, text.split(" ")))
    return longest <= room and (room >= _NARROWEST or width(text) <= room)


def start_of_last(rows: Sequence[Sequence[str | Cell]]) -> int:
    """The column in which the last cells of a table begin."""
    widths = _widths(rows)
    return sum(widths) + len(_GAP) * len(widths)


def _widths(rows: Sequence[Sequence[str | Cell]]) -> list[int]:
    """Of every column but the last."""
    return [max(width(text_of(row[column])) for row in rows) for column in range(len(rows[0]) - 1)]


def text_of(cell: str | Cell) -> str:
    return cell.text if isinstance(cell, Cell) else cell


def _with_last(head: str, start: int, last: Cell, view: View) -> list[str]:
    """The row's lines: its last cell begins behind `head`, and goes on in column `start`."""
    parts = [last.text.replace(NO_BREAK, " ")]
    if view.columns is not None:
        parts = wrapped(last.text, view.columns - start)
    first, *more = (paint(part, last.color, view) for part in parts)
    return [*f"{head}{first}".rstrip().split("\n"), *(f"{' ' * start}{part}" for part in more)]


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
