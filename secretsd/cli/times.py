"""Times as people say them. Pure."""

from __future__ import annotations

from datetime import datetime

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def span(seconds: float, *, parts: int = 2) -> str:
    """A duration for people, its largest units: "4m 10s"."""
    left = round(max(seconds, 0.0))
    words: list[str] = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count or (unit == "s" and not words):
            words.append(f"{count}{unit}")
        elif words:
            break  # "1d 5m" would look more exact than it reads
    return " ".join(words[:parts])


def relative(moment: object, now: datetime, *, parts: int = 1) -> str:
    """ "4m ago" or "in 3h" for a time in ISO 8601; "-" for None, and for what is no time."""
    if not isinstance(moment, str):
        return "-"
    try:
        seconds = (datetime.fromisoformat(moment) - now).total_seconds()
    except (ValueError, TypeError):
        return "-"
    return f"in {span(seconds, parts=parts)}" if seconds > 0.5 else f"{span(-seconds, parts=parts)} ago"


def absolute(moment: object) -> str:
    """The time itself, in the zone that it came in, without the T: for where "3d ago" is not enough."""
    return moment.replace("T", " ").replace("+00:00", " UTC") if isinstance(moment, str) else "-"
