"""One call of a server: repeated while its fault is transient and time is left, and counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from secretsd.refresh.sources.faults import OUT_OF_TIME, CallFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from secretsd.refresh.sources.clocks import Clocks
    from secretsd.refresh.sources.vault.errors import Answer
    from secretsd.refresh.sources.vault.wire import Wire

T = TypeVar("T")

_MAX_ATTEMPTS = 4
_FIRST_WAIT_S = 0.1  # full jitter: between 0 and this, then twice this, ...
_LONGEST_WAIT_S = 1.0
# What stays free for validating and publishing what has come.
_RESERVE_S = 0.25
# However many calls have to share the time, each may take this long to answer.
_LEAST_READ_S = 1.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long one call may wait, in seconds; `read_s` counts from one received byte to the next."""

    connect_s: float = 2.0
    read_s: float = 4.0


class Calls:
    """The calls of one fetch: all of them end before its deadline, unless an answer's head drips in."""

    def __init__(self, wire: Wire, *, deadline: float, timeouts: Timeouts, clocks: Clocks) -> None:
        self.wire = wire
        self._deadline = deadline
        self._timeouts = timeouts
        self._clocks = clocks
        self.counts: Counter[str] = Counter()

    def time_left_s(self) -> float:
        """Seconds in which a call may still be begun; none are left at 0 or below."""
        return self._deadline - self._clocks.monotonic() - self._timeouts.connect_s - _RESERVE_S

    def call(
        self,
        operation: str,
        send: Callable[[], Answer],
        read: Callable[[Answer], T],
        *,
        share_s: float | None = None,
        once: bool = False,
    ) -> T:
        """`read` of what `send` brings. Repeats and waits only while `share_s` seconds have not gone by.

        Without `share_s` all the time that is left may be used; with `once` it is not repeated. Each
        attempt is given at least a second to answer.

        Raises:
            CallFailedError: with the fault of the last attempt, or where no time is left for a first one;
                `read` may raise it too, to have it repeated.
        """
        if self.time_left_s() <= 0:
            raise CallFailedError(OUT_OF_TIME)
        share_ends = self._clocks.monotonic() + (self.time_left_s() if share_s is None else share_s)

        def is_over(state: RetryCallState) -> bool:
            wait_s = state.upcoming_sleep
            return self._clocks.monotonic() + wait_s >= share_ends or wait_s >= self.time_left_s()

        policy = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, CallFailedError) and error.fault.retry),
            wait=wait_random_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S),
            stop=lambda state: once or stop_after_attempt(_MAX_ATTEMPTS)(state) or is_over(state),
            sleep=self._clocks.sleep,
            reraise=True,
        )
        found: T = policy(self._once, operation, send, read, share_ends)
        return found

    def _once(
        self, operation: str, send: Callable[[], Answer], read: Callable[[Answer], T], share_ends: float
    ) -> T:
        now = self._clocks.monotonic()
        share_s = max(_LEAST_READ_S, share_ends - now)
        self.wire.connect_s = self._timeouts.connect_s
        self.wire.read_s = max(0.1, min(self._timeouts.read_s, share_s, self._deadline - now))
        self.wire.ends_at = min(self._deadline, now + share_s + self._timeouts.connect_s)
        self.counts[operation] += 1
        return read(send())
