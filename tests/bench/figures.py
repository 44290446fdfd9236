"""A measured figure beside its goal, and how it is told."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """`goal` is what was promised, None where a figure only explains another. The value must be below it;
    with `at_least` at it or above; with `exactly` the goal itself."""

    what: str
    value: float
    unit: str
    goal: float | None = None
    exactly: bool = False
    at_least: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        """met, missed, or nothing where there is no goal."""
        if self.goal is None:
            return ""
        if self.exactly:
            met = self.value == self.goal
        else:
            met = self.value >= self.goal if self.at_least else self.value < self.goal
        return "met" if met else "missed"

    def cells(self) -> tuple[str, str, str, str, str]:
        """The columns of a table: what, measured, goal, verdict, note."""
        relation = "" if self.exactly else ">= " if self.at_least else "< "
        goal = "" if self.goal is None else f"{relation}{_number(self.goal)} {self.unit}"
        return self.what, f"{_number(self.value)} {self.unit}", goal.strip(), self.verdict, self.note


HEADINGS = ("figure", "measured", "goal", "", "how")


def table(figures: Iterable[Figure]) -> str:
    """Measured figures beside their goals."""
    return grid(HEADINGS, [figure.cells() for figure in figures])


def grid(headings: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    """A table for a terminal that is a Markdown table, too."""
    rows = [headings, *cells]
    widths = [max(len(row[column]) for row in rows) for column in range(len(headings))]
    lines = [_row(row, widths) for row in rows]
    lines.insert(1, _row(["-" * width for width in widths], widths))
    return "\n".join(lines)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of `values` that at least `percent` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return f"| {' | '.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))} |"


def _number(value: float) -> str:
    if value == int(value):
        return str(int(value))
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
