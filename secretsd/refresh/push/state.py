"""How the push of one source does, and what that means for the intervals of bundles. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from secretsd.errors import Failure

# ReceiveMessage answers every 20 s, if only to say that there is nothing.
HEALTHY_S = 60.0
# When the push falls silent for many hosts at once, they come back to polling over this time.
SPREAD_S = 10.0


class Lags:
    """How long after its event a version was published to which a hint led: how many of each of BOUNDS_S."""

    BOUNDS_S = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 300.0)

    def __init__(self) -> None:
        self.counts = [0] * (len(self.BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, lag_s: float) -> None:
        """An event is ahead of this host's clock now and then: that is none."""
        self.counts[bisect_left(self.BOUNDS_S, lag_s)] += 1
        self.sum_s += max(0.0, lag_s)


@dataclass(slots=True)
class PushState:
    """One listener, as the conductor knows it."""

    refresh_interval_s: float
    is_healthy: bool = False
    changed: float = float("-inf")  # monotonic seconds; when `is_healthy` became what it is
    since: float | None = None  # seconds since the epoch; of the same moment
    last_message_at: float | None = None  # seconds since the epoch
    hints: int = 0  # since this start of the daemon; told twice counts twice
    ignored: int = 0
    malformed: int = 0
    restarts: int = 0
    lags: Lags = field(default_factory=Lags)
    failure: Failure | None = None  # why the queue did not answer last time; None when it did
    deletion: Failure | None = None  # why what was received could not be deleted

    @property
    def trouble(self) -> Failure | None:
        return self.failure or self.deletion

    def become(self, *, is_healthy: bool, now: float, wall: float) -> bool:
        """Whether that is a change. `now` is monotonic, `wall` in seconds since the epoch."""
        if self.since is not None and self.is_healthy == is_healthy:
            return False
        self.is_healthy, self.changed, self.since = is_healthy, now, wall
        return True


def due_at(
    next_due: float,
    *,
    interval_s: float,
    confirmed: float | None,
    dice: float,
    slowest_s: float,
    pushes: Sequence[PushState | None],
) -> float:
    """When a bundle is due, in monotonic seconds, that is due at `next_due` by its own interval.

    `pushes` has an entry for each of its sources, None where one has no push. Only if each has a healthy one
    the bundle waits longer, and only if its sources have confirmed it, at `confirmed`, since the push is
    healthy: what was told before that may be lost. `confirmed` of None: not yet, or failing now. It never
    waits for longer than `slowest_s`. `dice` is uniform in [0, 1).
    """
    known = [push for push in pushes if push is not None]
    if not known:
        return next_due
    fallen = max((push.changed for push in known if not push.is_healthy), default=None)
    if fallen is not None:
        # What would have been due long ago comes soon, but not with everybody else.
        return max(next_due, fallen + dice * SPREAD_S)
    if len(known) < len(pushes) or confirmed is None or confirmed < max(push.changed for push in known):
        return next_due
    longer_s = min(slowest_s, *(push.refresh_interval_s for push in known))
    return next_due + max(0.0, longer_s - interval_s)
