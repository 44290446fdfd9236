"""Windows of the week in which a unit may be touched: "Mon..Fri 21:00-22:30 UTC". Pure, time is an argument.

Days and times are those of a clock on the wall of the window's zone. Where the zone's clock is changed, a
window opens and closes at the first moment at which the clock reads its time or a later one: what falls
into an hour that is skipped is not open, and an hour that comes twice is open from its first time on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator

from secretsd.config.fields import Kind, refused

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIMES = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
_DAY_MIN = 24 * 60
# As far back as a window can have been open without a break, and as far on as the next one can be: a week,
# or two where the change of the clock swallows it.
_DAYS_BACK, _DAYS_ON = 8, 15


@dataclass(frozen=True, slots=True)
class Window:
    """Opens `start_min` minutes after the midnight that begins one of `days` (0 is Monday).

    `end_min` counts from the same midnight: it is above 24 hours where the window ends on the next day.
    """

    days: frozenset[int]
    start_min: int
    end_min: int
    zone: str

    @property
    def length_s(self) -> float:
        """How long it is open on a day on which no clock is changed."""
        return (self.end_min - self.start_min) * 60.0


@dataclass(frozen=True, slots=True)
class Open:
    """A window is open, and has been since `since` (seconds since the epoch)."""

    since: float


@dataclass(frozen=True, slots=True)
class Closed:
    """No window is open; the next one opens at `until` (seconds since the epoch), if that can be told."""

    until: float | None


def opening(windows: Sequence[Window], now: float) -> Open | Closed:
    """Whether one of `windows` is open at `now` (seconds since the epoch). Windows that touch are one.

    A window in a zone that this host does not know is never open: better late than at the wrong hour.
    """
    until = None
    for start, end in _merged(sorted(span for window in windows for span in _spans(window, now))):
        if start <= now < end:
            return Open(float(start))
        if start > now:
            until = float(start)
            break
    return Closed(until)


def zone_of(name: str) -> tzinfo | None:
    """The zone with that IANA name; None where this host's data (Debian: the package tzdata) has none."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # not there; no name; a directory, or not readable
        return None


def _spans(window: Window, now: float) -> list[tuple[int, int]]:
    """When the window is open around `now`, in seconds since the epoch."""
    zone = zone_of(window.zone)
    if zone is None:
        return []
    today = datetime.fromtimestamp(now, zone).date()
    days = (today + timedelta(days=offset) for offset in range(-_DAYS_BACK, _DAYS_ON + 1))
    spans = [
        (_moment(day, window.start_min, zone), _moment(day, window.end_min, zone))
        for day in days
        if day.weekday() in window.days
    ]
    return [(start, end) for start, end in spans if start < end]


def _moment(day: date, minute: int, zone: tzinfo) -> int:
    """When the zone's clock first reads that minute of `day` or a later one, in seconds since the epoch."""
    naive = datetime.combine(day, datetime.min.time()) + timedelta(minutes=minute)
    # PEP 495: in a gap, fold 0 counts with the offset before it, and fold 1, earlier, with the one after it.
    first, second = (int(naive.replace(tzinfo=zone, fold=fold).timestamp()) for fold in (0, 1))
    if first <= second:
        return first
    low, high = second, first  # the clock is changed after `low`, and not after `high`
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(middle, zone) == _offset(low, zone):
            low = middle
        else:
            high = middle
    return high


def _offset(moment: int, zone: tzinfo) -> timedelta | None:
    return datetime.fromtimestamp(moment, zone).utcoffset()


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def parse_window(value: object) -> Window:
    """The window of "[DAYS] [HH:MM-HH:MM] [ZONE]", with days or a time.

    Raises: pydantic's error with one of our sentences.
    """
    if isinstance(value, Window):
        return value
    words = value.split() if isinstance(value, str) else []
    days = _days(words.pop(0)) if words and words[0][:1].isalpha() else frozenset(range(7))
    has_time = bool(words) and words[0][:1].isdigit()
    start_min, end_min = _times(words.pop(0)) if has_time else (0, _DAY_MIN)
    zone = words.pop(0) if words else "UTC"
    if words or not isinstance(value, str) or not value.strip():
        raise refused(
            'must be days, a time of day or both, and perhaps a time zone: "Mon..Fri 21:00-22:30 UTC", "Sat"'
        )
    if not _ZONE.fullmatch(zone):
        raise refused('must end with the IANA name of a time zone, such as "Europe/Berlin", or without any')
    return Window(days, start_min, end_min, zone)


def _days(text: str) -> frozenset[int]:
    """ "Sat", "Mon..Fri", "Fri..Mon" (over the end of the week), "Mon,Wed..Fri"."""
    days: set[int] = set()
    for part in text.lower().split(","):
        first, _, last = part.partition("..")
        last = last if ".." in part else first
        if first not in _DAYS or last not in _DAYS:
            raise refused('must name days as Mon, Tue, Wed, Thu, Fri, Sat, Sun: "Sat", "Mon..Fri", "Mon,Wed"')
        begin, length = _DAYS.index(first), (_DAYS.index(last) - _DAYS.index(first)) % 7
        days |= {(begin + step) % 7 for step in range(length + 1)}
    return frozenset(days)


def _times(text: str) -> tuple[int, int]:
    """Minutes after midnight; the end is on the next day where it is not after the start."""
    match = _TIMES.fullmatch(text)
    numbers = [int(group) for group in match.groups()] if match else []
    if not numbers or numbers[2:] > [24, 0]:
        raise refused('must give the time of day as HH:MM-HH:MM, from 00:00 to 24:00, such as "21:00-22:30"')
    start_min, end_min = 60 * numbers[0] + numbers[1], 60 * numbers[2] + numbers[3]
    if start_min == end_min:
        raise refused("must not end when it begins; leave the time out for the whole day")
    return start_min, end_min if end_min > start_min else end_min + _DAY_MIN


WindowText = Annotated[Window, Kind("windows of the week"), BeforeValidator(parse_window)]
