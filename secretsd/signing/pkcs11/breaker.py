"""When to stop asking a token that fails, and how long to pause between two tries. Pure."""

from __future__ import annotations

_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.05


def pause_s(attempt: int, chance: float) -> float:
    """Full jitter: somewhere between nothing and twice as much as at the try before. `chance` is 0 to 1."""
    return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0**attempt) * chance


class Breaker:
    """Opens after `threshold` requests failed in a row; then one at a time may try whether it is over.

    `now_s` is monotonic everywhere. For one thread at a time: who shares it holds a lock, or accepts that
    two may try at once.
    """

    def __init__(self, *, threshold: int = 16, open_s: float = 0.25) -> None:
        self._threshold = threshold
        self._open_s = open_s
        self._failures = 0
        self._until_s = 0.0

    @property
    def is_closed(self) -> bool:
        return self._failures < self._threshold

    @property
    def is_spotless(self) -> bool:
        """Whether nothing failed since the last success."""
        return not self._failures

    def admits(self, now_s: float) -> bool:
        """Whether a request may go to the token now."""
        if self.is_closed:
            return True
        if now_s < self._until_s:
            return False
        self._until_s = now_s + self._open_s  # this one tries; the others wait for what it finds
        return True

    def failed(self, now_s: float) -> None:
        self._failures += 1
        if not self.is_closed:
            self._until_s = now_s + self._open_s

    def succeeded(self) -> None:
        self._failures = 0
