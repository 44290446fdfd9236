"""The circuit breaker of one endpoint. Pure: clocks and the random number come in as arguments."""

from __future__ import annotations

from dataclasses import dataclass

from secretsd.refresh.schedule import retry_delay

# One failure may be anything; from the second on nobody sends more than one request to see.
_CAUTIOUS_FROM = 2
_FIRST_RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """How an endpoint has done lately. A new one is closed: the endpoint is believed to answer."""

    failures: int = 0  # in a row
    since: float | None = None  # when the first of them was, seconds since the epoch
    retry_at: float = 0.0  # when to try again by oneself, monotonic seconds
    code: str = ""  # of the last one

    @property
    def is_closed(self) -> bool:
        return self.failures == 0

    @property
    def wants_caution(self) -> bool:
        """Whether the next fetch is to send one request first."""
        return self.failures >= _CAUTIOUS_FROM

    def failed(self, code: str, *, now: float, wall: float, dice: float, longest_s: float) -> Breaker:
        """After one more failure at `now` (monotonic) and `wall` (since the epoch); the wait has full jitter.

        `longest_s` bounds the wait, `dice` is uniform in [0, 1).
        """
        failures = self.failures + 1
        wait_s = retry_delay(failures, dice, first_s=min(_FIRST_RETRY_S, longest_s), longest_s=longest_s)
        return Breaker(failures, wall if self.since is None else self.since, now + wait_s, code)

    def answered(self) -> Breaker:
        """After an answer, whatever it said."""
        return Breaker()
