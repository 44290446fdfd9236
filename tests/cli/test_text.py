"""What reaches a terminal: nothing that it would obey, and columns that stand below each other."""

from __future__ import annotations

import pytest

from secretsd.cli.text import RED, Cell, View, clean, printable, table, width, wrapped
from tests.cli.documents import NOW

WIDE = View(NOW)
NARROW = View(NOW, columns=40)


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),  # a right-to-left override
        ("\ud800", "\\ud800"),
        ("\x7f", "\\x7f"),
    ],
)
def test_nothing_that_a_terminal_obeys_is_printed(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown
    assert clean({hostile: [hostile, 1, None]}) == {shown: [shown, 1, None]}


def test_what_people_write_is_left_alone() -> None:
    assert printable("prod/bücher/取引 é") == "prod/bücher/取引 é"


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("取引", 4), ("e\u0301", 1), ("ü", 1), ("", 0)])
def test_a_wide_character_takes_two_columns_and_a_combining_one_none(text: str, columns: int) -> None:
    assert width(text) == columns


def test_columns_stand_below_each_other_whatever_is_in_them() -> None:
    lines = table([("A", "B", "C"), ("取引", "x", "1"), ("ab", "y", "2")], WIDE)
    assert lines == ["A     B  C", "取引  x  1", "ab    y  2"]


def test_a_colour_takes_no_room() -> None:
    plain = table([("A", "B"), ("x", "y"), ("longer", "z")], WIDE)
    painted = table([("A", "B"), (Cell("x", RED), "y"), ("longer", "z")], WIDE._replace(color=True))
    assert painted[1] == f"\x1b[31mx\x1b[0m{plain[1][1:]}"


def test_the_last_column_is_wrapped_below_itself() -> None:
    lines = table([("A", "B"), ("name", "one two three four five six seven eight")], NARROW)
    assert lines == ["A     B", "name  one two three four five six seven", "      eight"]
    assert all(width(line) <= 40 for line in lines)


def test_a_last_column_without_room_goes_below_its_row() -> None:
    lines = table([("A" * 30, "B"), ("name", "trading-bot.service loaded")], NARROW)
    assert lines == ["A" * 30 + "  B", "name", "    trading-bot.service loaded"]


def test_a_word_is_never_cut_and_what_belongs_together_stays_so() -> None:
    assert wrapped("a bb\u00a0cc ddddddddd", 5) == ["a", "bb cc", "ddddddddd"]


def test_without_a_terminal_no_line_is_broken() -> None:
    assert len(table([("A", "B"), ("name", "word " * 100)], WIDE)) == 2
