"""When a unit that is due may be touched: windows, stagger and the limit on restarts. Pure.

What only the bot itself can say (`before`) comes last and is asked by the delivery, right before the unit is
touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from secretsd.config.on_change import OnChange
from secretsd.config.windows import Closed, opening

HOUR_S = 3600.0
# A unit that waits is looked at this often: somebody may have restarted it, or edited its windows.
_LOOK_AGAIN_S = 60.0
_ASK_AGAIN_S, _ASK_AGAIN_LONGEST_S = 5.0, 60.0  # `before`, which said no


class Reason(StrEnum):
    """What a unit waits for; status says "waiting for" and this word."""

    WINDOW = "window"
    STAGGER = "stagger"
    RESTART_LIMIT = "restart limit"
    BEFORE = "before"


@dataclass(frozen=True, slots=True)
class Go:
    """Nothing on the clock keeps the unit from being touched now."""


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """The unit waits; `at`, in seconds since the epoch, is when the reason is gone, if that is known."""

    reason: Reason
    at: float | None


def gate(
    entry: OnChange, *, bundle: str, now: float, published_at: float, host: str, restarts: Sequence[float]
) -> Go | WaitUntil:
    """Whether the unit of `entry` may be touched at `now` for what was published at `published_at`.

    Times are seconds since the epoch; `host` is this host's name; `restarts` is when secretsd restarted the
    unit lately.
    """
    window = opening(entry.windows, now)
    if isinstance(window, Closed):
        return WaitUntil(Reason.WINDOW, window.until)
    # Else all hosts whose publish lies before the window would be told as one when it opens.
    since = max(published_at, window.since)
    staggered = since + stagger_delay_s(entry.stagger_s, host=host, bundle=bundle, unit=entry.unit)
    # What was published in the future was published before the clock was set back: it has waited enough.
    if since <= now < staggered:
        return WaitUntil(Reason.STAGGER, staggered)
    freed = _freed(entry.max_restarts_per_hour, restarts, now)
    return Go() if freed is None else WaitUntil(Reason.RESTART_LIMIT, freed)


def stagger_delay_s(stagger_s: float, *, host: str, bundle: str, unit: str) -> float:
    """From 0 up to `stagger_s`: always the same for one unit of one host, spread evenly over hosts."""
    digest = hashlib.sha256("\0".join((host, bundle, unit)).encode(errors="surrogateescape")).digest()
    return stagger_s * int.from_bytes(digest[:8]) / 2**64


def recent(restarts: Sequence[float], now: float) -> tuple[float, ...]:
    """The restarts that count at `now`, oldest first.

    One in the future was before the clock was set back, nobody knows how long: it must not block for ever.
    """
    return tuple(sorted(moment for moment in restarts if now - HOUR_S < moment <= now))


def _freed(limit: int | None, restarts: Sequence[float], now: float) -> float | None:
    """When the limit allows the next restart; None where it does now."""
    counting = recent(restarts, now)
    if limit is None or len(counting) < limit:
        return None
    return counting[-limit] + HOUR_S


def look_again_s(wait: WaitUntil, *, now: float, refusals: int) -> float:
    """In how many seconds a unit that waits is looked at again, at `now` in seconds since the epoch.

    `refusals` counts from 1 how often `before` has said no. An end that is known is met, but not slept up to:
    clocks are set.
    """
    if wait.reason is Reason.BEFORE:
        return min(_ASK_AGAIN_LONGEST_S, _ASK_AGAIN_S * 2.0 ** min(max(refusals, 1) - 1, 8))
    return _LOOK_AGAIN_S if wait.at is None else min(_LOOK_AGAIN_S, max(0.0, wait.at - now))
