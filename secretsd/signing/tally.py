"""Counts what is asked of keys, and how long each answer took. Pure.

Only names that were looked up come here: a configured key, an operation, a mechanism, a code. An addition
takes less than a microsecond, on the way of every signature.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_BOUNDS_NS = tuple(round(bound_s * 1e9) for bound_s in BOUNDS_S)


class Spread:
    """How long requests took: how many fell into each bucket of BOUNDS_S and beyond, and all together."""

    __slots__ = ("counts", "sum_ns")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_ns = 0

    def add(self, took_ns: int) -> None:
        self.counts[bisect_left(_BOUNDS_NS, took_ns)] += 1
        self.sum_ns += took_ns


class Tally:
    """Since this start of the signer."""

    def __init__(self) -> None:
        self.uses: Counter[tuple[str, str, str, str]] = Counter()  # key, operation, mechanism, result
        self.refusals: Counter[str] = Counter()  # of what was not begun, by code
        self.spreads: dict[tuple[str, str], Spread] = {}  # by key and operation

    def use(self, key: str, operation: str, mechanism: str, result: str, took_ns: int) -> None:
        """One use that was begun has been answered."""
        self.uses[key, operation, mechanism, result] += 1
        spread = self.spreads.get((key, operation))
        if spread is None:
            spread = self.spreads[key, operation] = Spread()
        spread.add(took_ns)
