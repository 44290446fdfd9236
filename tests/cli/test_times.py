"""Times that a tired operator reads at a glance."""

from __future__ import annotations

import pytest

from secretsd.cli.times import absolute, relative, span
from tests.cli.documents import NOW, ago, later


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0s"),
        (-3, "0s"),
        (59.6, "1m"),
        (61, "1m 1s"),
        (3600, "1h"),
        (3605, "1h"),
        (90061, "1d 1h"),
        (86400 * 400, "400d"),
    ],
)
def test_a_span_has_two_units_at_most_and_they_are_neighbours(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_the_past_is_ago_and_the_future_is_in() -> None:
    assert relative(ago(minutes=4, seconds=10), NOW) == "4m ago"
    assert relative(ago(minutes=4, seconds=10), NOW, parts=2) == "4m 10s ago"
    assert relative(later(hours=3), NOW) == "in 3h"


@pytest.mark.parametrize("moment", [None, "", "soon", "2026-03-01", 7])
def test_what_is_no_time_is_a_dash_and_no_bug(moment: object) -> None:
    assert relative(moment, NOW) == "-"


def test_the_time_itself_names_its_zone() -> None:
    assert absolute(ago(hours=1)) == "2026-03-01 11:00:00 UTC"
    assert absolute(None) == "-"
