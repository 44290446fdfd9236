"""The cells of the signing figures: who was asked for what, by how many clients, and how it went."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from tests.bench import signing_load
from tests.bench.figures import grid
from tests.bench.signing_keys import SigningKind
from tests.bench.signing_load import Clients, Load, Target

_RUNS = 5  # of each cell


class Sheet:
    """For these keys and numbers of clients."""

    def __init__(self, kinds: tuple[SigningKind, ...], clients: tuple[int, ...], seconds: float) -> None:
        self.kinds = kinds
        self.clients = clients
        self.seconds_each = seconds / _RUNS
        self._cells: dict[tuple[str, str, int], Load] = {}
        self._remarks: list[str] = []

    def ask(
        self, way: str, target: Callable[[SigningKind], Target], only: tuple[SigningKind, ...] | None = None
    ) -> None:
        """Measures one way for each key and number of clients."""
        for kind in self.kinds:
            if only is None or kind in only:
                for number in self.clients:
                    clients = Clients(number, self.seconds_each)
                    self.note(way, kind, number, partial(signing_load.run, target(kind), clients))

    def note(self, way: str, kind: SigningKind, clients: int, once: Callable[[], Load]) -> None:
        """The middle one of some runs.

        Whether client and server share a processor is the kernel's choice, each time anew, and doubles what a
        short call takes.
        """
        loads = [once() for _ in range(_RUNS)]
        if any(load.failed for load in loads):
            raise SystemExit(f"{way}: not all was answered: {loads}")
        if refused := sum(load.refused for load in loads):
            self._remarks.append(f"{way}, {clients} clients: {refused} were refused, in {_RUNS} runs.")
        self._cells[way, kind.name, clients] = sorted(loads, key=_slowness)[_RUNS // 2]

    def has(self, way: str) -> bool:
        """Whether it was measured at all."""
        return any(each == way for each, _, _ in self._cells)

    def load(self, way: str, kind: SigningKind, clients: int) -> Load:
        return self._cells[way, kind.name, clients]

    def markdown(self, ways: Sequence[str]) -> str:
        """A table of all cells, `ways` in their order for each key; below it, where any were refused."""
        words = ("p50 us", "p99 us", "per s")
        headings = ["key", "asked", *(f"{each}: {word}" for each in self.clients for word in words)]
        return "\n".join([grid(headings, self._rows(ways)), *(f"\n{each}" for each in self._remarks)])

    def _rows(self, ways: Sequence[str]) -> list[list[str]]:
        found = []
        for kind in self.kinds:
            for way in ways:
                loads = [self._cells.get((way, kind.name, clients)) for clients in self.clients]
                if any(loads):
                    found.append([kind.name, way, *(text for load in loads for text in _texts(load))])
        return found


def _slowness(load: Load) -> float:
    """A run that nobody was served in, for want of a processor, is the slowest."""
    return load.p50_us if load.done else math.inf


def _texts(load: Load | None) -> tuple[str, str, str]:
    if load is None:
        return "", "", ""
    return f"{load.p50_us:.0f}", f"{load.p99_us:.0f}", f"{load.rate:.0f}"
