"""systemd's time spans. Imports nothing: `secretsctl wait` reads one on a path that starts in 12 ms."""

from __future__ import annotations

_MINUTE = 60.0
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_UNITS = {
    **dict.fromkeys(("us", "usec", "\u00b5s", "\u03bcs"), 1e-6),
    **dict.fromkeys(("ms", "msec"), 1e-3),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), _MINUTE),
    **dict.fromkeys(("h", "hr", "hour", "hours"), _HOUR),
    **dict.fromkeys(("d", "day", "days"), _DAY),
    **dict.fromkeys(("w", "week", "weeks"), 7 * _DAY),
    **dict.fromkeys(("M", "month", "months"), 30.4375 * _DAY),
    **dict.fromkeys(("y", "year", "years"), 365.25 * _DAY),
}
_NUMERIC = frozenset("0123456789.")
_BLANKS = " \t\n\r"
_LONGEST_S = 2**64 / 1e6  # systemd counts microseconds in 64 bits


def parse_timespan(text: str) -> float:
    """Seconds of a time span such as "30s", "1h 30m", "250ms" or "1.5h"; a number alone counts seconds.

    The units are those of systemd.time(7). Narrower than systemd on purpose: "infinity", which no interval
    and no deadline here can mean, and a number without a unit beside others are refused.

    Raises: ValueError, whose text names the form and never the input.
    """
    parts = _parts(text.strip(_BLANKS))
    if len(parts) == 1 and parts[0][1] == "":
        total = float(parts[0][0])
    else:
        total = 0.0
        for number, unit in parts:
            if unit not in _UNITS:
                raise _not_a_timespan()
            total += float(number) * _UNITS[unit]
    if not parts or not total < _LONGEST_S:
        raise _not_a_timespan()
    return total


def spoken(seconds: float) -> str:
    """A length of time for people, in its two largest units: "15 min 3 s", "2 d 6 h"."""
    left = round(abs(seconds))
    words = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            words.append(f"{count} {unit}")
        elif words:
            break
    return " ".join(words[:2]) or "0 s"


def _parts(text: str) -> list[tuple[str, str]]:
    """The numbers with their units, in order: "1h 30m" gives ("1", "h") and ("30", "m")."""
    parts: list[tuple[str, str]] = []
    rest = text
    while rest:
        number, rest = _split_while(rest, numeric=True)
        if number.count(".") > 1 or not number.strip("."):
            raise _not_a_timespan()
        unit, rest = _split_while(rest.lstrip(_BLANKS), numeric=False)
        parts.append((number, unit))
        rest = rest.lstrip(_BLANKS)
    return parts


def _split_while(text: str, *, numeric: bool) -> tuple[str, str]:
    """`text` parted where its first run of a number's characters, or of a unit's, ends."""
    end = 0
    while end < len(text) and text[end] not in _BLANKS and (text[end] in _NUMERIC) is numeric:
        end += 1
    return text[:end], text[end:]


def _not_a_timespan() -> ValueError:
    return ValueError("is not a time span such as 30s, 5m or 1h 30m")
