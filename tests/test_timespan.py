from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretsd.timespan import parse_timespan

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30), ("5m", 300), ("1h 30m", 5400), ("1h30m", 5400), ("250ms", 0.25), ("0", 0), ("90", 90),
        ("1.5h", 5400), (".5s", 0.5), ("2 min", 120), ("  1 d  2 h ", 93600), ("1M", 2629800),
        ("1month", 2629800), ("1y", 31557600), ("3 weeks", 1814400),
        ("10µs", 1e-5), ("10μs", 1e-5), ("1sec 500 msec", 1.5),
    ],
)  # fmt: skip
def test_systemd_time_spans(text: str, seconds: float) -> None:
    assert parse_timespan(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "infinity", "inf", "nan", "-1s", "+1s", "1x", "s", "1 2", "5 20s", "1.2.3s", ".", ".s",
        "1e3",
        "1_000", "\u0661s", "\u00b2s", "1s,", "0x10",
        "1H", "9" * 400, "9" * 30 + "y", "1s\x00", "5 parsecs",
    ],
)  # fmt: skip
def test_anything_else_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is not a time span such as 30s, 5m or 1h 30m$"):
        parse_timespan(text)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(sorted(UNITS))), min_size=1))
def test_the_parts_add_up(parts: list[tuple[int, str]]) -> None:
    text = " ".join(f"{number}{unit}" for number, unit in parts)
    assert parse_timespan(text) == pytest.approx(sum(number * UNITS[unit] for number, unit in parts))


@given(st.text())
def test_no_text_does_more_than_raise_value_error(text: str) -> None:
    with suppress(ValueError):
        assert parse_timespan(text) >= 0


def test_it_imports_nothing_for_the_sake_of_the_fast_path() -> None:
    code = (
        "import sys, secretsd, __future__; old = set(sys.modules); import secretsd.timespan;"
        " print(*set(sys.modules) - old)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert loaded.strip() == "secretsd.timespan"
