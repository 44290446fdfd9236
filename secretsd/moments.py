"""Moments of the wall clock as text, in UTC. Pure."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(seconds: float | None) -> str | None:
    """ISO 8601, for a document of JSON; `seconds` is since the epoch, None where there is no such moment."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds is not None else None


def in_words(seconds: float) -> str:
    """For a log or a message; `seconds` is since the epoch, and may come from a file that lies."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return "a day that is in no calendar"
