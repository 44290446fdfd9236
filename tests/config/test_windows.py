from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from secretsd.config.windows import Closed, Open, Window, opening, parse_window, zone_of

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def at(text: str, zone: str = "UTC", *, fold: int = 0) -> float:
    """Seconds since the epoch when the zone's clock reads `text`."""
    tz = UTC if zone == "UTC" else ZoneInfo(zone)
    return datetime.fromisoformat(text).replace(tzinfo=tz, fold=fold).timestamp()


def is_open(windows: str | list[str], moment: float) -> bool:
    texts = [windows] if isinstance(windows, str) else windows
    return isinstance(opening([parse_window(text) for text in texts], moment), Open)


def opens(windows: str, moment: float) -> float | None:
    found = opening([parse_window(windows)], moment)
    assert isinstance(found, Closed)
    return found.until


# What a window says. 2026-11-23 is a Monday.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sat", Window(frozenset({5}), 0, 1440, "UTC")),
        ("21:00-22:30", Window(frozenset(range(7)), 1260, 1350, "UTC")),
        ("Mon..Fri 21:00-22:30 UTC", Window(frozenset(range(5)), 1260, 1350, "UTC")),
        ("mon,WED..fri  02:00-04:00", Window(frozenset({0, 2, 3, 4}), 120, 240, "UTC")),
        ("Fri..Mon 22:00-02:00", Window(frozenset({4, 5, 6, 0}), 1320, 1560, "UTC")),
        ("Sun 20:00-24:00 Europe/Berlin", Window(frozenset({6}), 1200, 1440, BERLIN)),
        ("Sun..Sat", Window(frozenset(range(7)), 0, 1440, "UTC")),
        ("00:00-24:00 Etc/GMT+5", Window(frozenset(range(7)), 0, 1440, "Etc/GMT+5")),
    ],
)
def test_days_and_times_are_optional_and_the_zone_is_utc(text: str, expected: Window) -> None:
    assert parse_window(text) == expected


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("", "days, a time of day or both"),
        ("  ", "days, a time of day or both"),
        (21, "days, a time of day or both"),
        ("Sat 21:00-22:00 UTC now", "days, a time of day or both"),
        ("UTC", "must name days"),
        ("Mon-Fri", "must name days"),
        ("Monday", "must name days"),
        ("Mon..", "must name days"),
        ("Mon,", "must name days"),
        ("21:00", "HH:MM-HH:MM"),
        ("9:00-10:00", "HH:MM-HH:MM"),
        ("23:00-24:01", "HH:MM-HH:MM"),
        ("24:00-01:00", "HH:MM-HH:MM"),
        ("21:00 - 22:00", "HH:MM-HH:MM"),
        ("21:00-22:60", "HH:MM-HH:MM"),
        ("21:00-21:00", "leave the time out"),
        ("21:00-22:00 ../etc/passwd", "IANA name"),
        ("21:00-22:00 /etc/passwd", "IANA name"),
        ("21:00-22:00 +02:00", "IANA name"),
    ],
)
def test_what_is_no_window_is_refused_with_the_right_form_and_without_the_text(
    value: object, part: str
) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        parse_window(value)
    assert part in str(caught.value)
    assert "passwd" not in str(caught.value)


# When it is open


@pytest.mark.parametrize(
    ("text", "moment", "expected"),
    [
        ("Mon..Fri 21:00-22:30", "2026-11-23 20:59:59", False),
        ("Mon..Fri 21:00-22:30", "2026-11-23 21:00:00", True),
        ("Mon..Fri 21:00-22:30", "2026-11-23 22:29:59", True),
        ("Mon..Fri 21:00-22:30", "2026-11-23 22:30:00", False),
        ("Mon..Fri 21:00-22:30", "2026-11-28 21:30:00", False),
        ("Sat", "2026-11-28 00:00:00", True),
        ("Sat", "2026-11-28 23:59:59", True),
        ("Sat", "2026-11-29 00:00:00", False),
        # Over midnight: the night belongs to the day on which it begins.
        ("Fri 22:00-02:00", "2026-11-27 23:00:00", True),
        ("Fri 22:00-02:00", "2026-11-28 01:59:59", True),
        ("Fri 22:00-02:00", "2026-11-28 02:00:00", False),
        ("Fri 22:00-02:00", "2026-11-27 01:00:00", False),
        # Over the end of the week, in the window and in the list of days.
        ("Sun 22:00-02:00", "2026-11-30 01:00:00", True),
        ("Fri..Mon", "2026-11-30 12:00:00", True),
        ("Fri..Mon", "2026-11-24 12:00:00", False),
        ("21:00-24:00", "2026-11-23 23:59:59", True),
        ("21:00-24:00", "2026-11-24 00:00:00", False),
    ],
)
def test_the_clock_on_the_wall_decides(text: str, moment: str, expected: bool) -> None:
    assert is_open(text, at(moment)) is expected


def test_without_windows_it_is_always_open() -> None:
    assert opening([], at("2026-11-23 12:00:00")) == Open(0.0)


def test_a_zone_is_that_of_the_exchange_and_not_of_the_host() -> None:
    assert is_open("Mon 21:00-22:00 Europe/Berlin", at("2026-11-23 20:30:00"))
    assert is_open("Mon 21:00-22:00 Europe/Berlin", at("2026-07-20 19:30:00"))
    assert not is_open("Mon 21:00-22:00 Europe/Berlin", at("2026-11-23 21:30:00"))
    assert is_open("Mon 21:00-22:00 Asia/Tokyo", at("2026-11-23 12:30:00"))


def test_the_next_opening_is_told_even_when_it_is_a_week_away() -> None:
    assert opens("Mon 21:00-22:30", at("2026-11-23 22:30:00")) == at("2026-11-30 21:00:00")
    assert opens("Mon..Fri 21:00-22:30", at("2026-11-27 23:00:00")) == at("2026-11-30 21:00:00")
    assert opens("02:00-04:00", at("2026-11-23 12:00:00")) == at("2026-11-24 02:00:00")


def test_windows_that_touch_are_one_that_opened_with_the_first() -> None:
    windows = [parse_window("Fri 22:00-24:00"), parse_window("Sat"), parse_window("Sun 00:00-03:00")]
    assert opening(windows, at("2026-11-29 02:00:00")) == Open(at("2026-11-27 22:00:00"))
    nights = [parse_window("22:00-02:00"), parse_window("01:00-05:00")]
    assert opening(nights, at("2026-11-24 04:00:00")) == Open(at("2026-11-23 22:00:00"))
    assert isinstance(opening(nights, at("2026-11-24 05:00:00")), Closed)


# Where a clock is changed: New York on 2026-03-08 from 02:00 to 03:00, and on 2026-11-01 from 02:00 to 01:00.


def test_a_window_in_the_hour_that_is_skipped_is_not_open_that_night() -> None:
    text = "02:00-03:00 America/New_York"
    night = at("2026-03-08 00:00:00", NEW_YORK)
    assert not any(is_open(text, night + minute * 60) for minute in range(23 * 60))
    assert opens(text, night) == at("2026-03-09 02:00:00", NEW_YORK)


def test_a_weekly_window_in_the_hour_that_is_skipped_opens_a_week_later() -> None:
    text = "Sun 02:00-03:00 America/New_York"
    assert opens(text, at("2026-03-02 12:00:00", NEW_YORK)) == at("2026-03-15 02:00:00", NEW_YORK)


def test_a_window_that_begins_or_ends_in_the_skipped_hour_does_so_at_the_jump() -> None:
    jump = at("2026-03-08 03:00:00", NEW_YORK)
    assert opening([parse_window("02:30-04:00 America/New_York")], jump) == Open(jump)
    assert not is_open("02:30-04:00 America/New_York", jump - 1)
    assert is_open("01:00-02:30 America/New_York", jump - 1)
    assert not is_open("01:00-02:30 America/New_York", jump)


def test_an_hour_that_comes_twice_is_open_from_its_first_time_and_closed_from_the_first_end() -> None:
    first, second = (at("2026-11-01 01:30:00", NEW_YORK, fold=fold) for fold in (0, 1))
    assert second - first == 3600
    over_both = "01:00-03:00 America/New_York"
    assert is_open(over_both, first)
    assert is_open(over_both, second)
    short = "01:15-01:45 America/New_York"
    assert is_open(short, first)
    assert not is_open(short, second)


def test_a_day_whose_midnight_is_skipped_is_whole_all_the_same() -> None:
    # Beirut, 2026-03-29: 00:00 becomes 01:00.
    assert is_open("Sat Asia/Beirut", at("2026-03-28 23:59:59", "Asia/Beirut"))
    assert is_open("Sun Asia/Beirut", at("2026-03-29 01:00:00", "Asia/Beirut"))
    assert not is_open("Sat Asia/Beirut", at("2026-03-29 01:00:00", "Asia/Beirut"))


_TEXTS = st.sampled_from(
    [
        "Mon..Fri 21:00-22:30",
        "Fri..Mon 22:00-02:00 America/New_York",
        "01:30-02:30 Europe/Berlin",
        "Sun 00:30-03:30 Australia/Lord_Howe",
        "Sat,Wed Africa/Cairo",
    ]
)


@given(_TEXTS, st.floats(at("2024-01-01 00:00:00"), at("2030-01-01 00:00:00")))
def test_a_closed_window_opens_when_it_says_and_not_before(text: str, moment: float) -> None:
    windows = [parse_window(text)]
    match opening(windows, moment):
        case Open(since):
            assert since <= moment
            assert isinstance(opening(windows, since), Open)
            assert isinstance(opening(windows, since - 1), Closed)
        case Closed(until):
            assert until is not None
            assert moment < until <= moment + 14 * 86400
            assert opening(windows, until) == Open(until)
            assert isinstance(opening(windows, (moment + until) / 2), Closed)


# A host without zones


@pytest.fixture
def no_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Debian without the package tzdata."""

    def missing(name: str) -> ZoneInfo:
        raise zoneinfo.ZoneInfoNotFoundError(name)

    monkeypatch.setattr("secretsd.config.windows.ZoneInfo", missing)


@pytest.mark.usefixtures("no_zones")
def test_a_zone_that_the_host_does_not_know_keeps_its_window_closed_and_utc_needs_none() -> None:
    monday = at("2026-11-23 21:30:00")
    assert zone_of(BERLIN) is None
    assert opening([parse_window("Mon Europe/Berlin")], monday) == Closed(None)
    assert is_open("Mon 21:00-22:00", monday)
    assert is_open(["Mon Europe/Berlin", "Mon 21:00-22:00"], monday)


@pytest.mark.parametrize("name", ["Europe/Berlinn", "Europe", "posixrules/x", "tzdata.zi", "X" * 300])
def test_a_name_that_is_no_zone_is_none_and_no_error(name: str) -> None:
    assert zone_of(name) is None
    assert isinstance(zone_of(BERLIN), ZoneInfo)


def test_the_data_of_these_tests_is_there() -> None:
    assert datetime(2026, 7, 1, tzinfo=ZoneInfo(NEW_YORK)).utcoffset() == timedelta(hours=-4)
