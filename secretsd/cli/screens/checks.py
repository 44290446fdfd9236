"""What was looked at, a line each: of doctor and of health."""

from __future__ import annotations

from collections.abc import Sequence

from secretsd.cli.text import GREEN, RED, YELLOW, View, paint, printable, sentence
from secretsd.control.check import Check

_GAP = "  "
_WORD = 4  # characters of the longest state
_WIDEST_NAME = 40  # a full ARN does not push all the others aside
_COLORS = {"ok": GREEN, "warn": YELLOW, "fail": RED}


def screen(checks: Sequence[Check], view: View) -> str:
    """A line for each check, aligned, and below it the fix where there is one."""
    wide = min(_WIDEST_NAME, max(len(each.check) for each in checks))
    indent = " " * (_WORD + wide + 2 * len(_GAP))
    lines = []
    for each in checks:
        word = paint(each.state.ljust(_WORD), _COLORS[each.state], view)
        head = f"{word}{_GAP}{printable(each.check).ljust(wide)}{_GAP}"
        first, *more = sentence(printable(each.detail), view, indent=indent)
        lines += [head + first.removeprefix(indent), *more]
        if each.fix:
            lines += sentence(f"fix: {printable(each.fix)}", view, indent=indent)
    return "\n".join(lines)
