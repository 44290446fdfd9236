"""The longest fetch and the largest worker under every fault, of every kind of source at once.

    python -m tests.bench.outage_table

A real daemon in the foreground. What comes of each fault is for tests/faults; this measures.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.bench.figures import Figure, table
from tests.faults.outage_table import ROWS, Row
from tests.faults.world import World, running
from tests.lab.aws import FakeAws
from tests.lab.openbao import OpenBao

_LIMIT_MIB = 300
_LIMIT_S = 10


def measure() -> list[Figure]:
    found: dict[str, tuple[float, float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        clouds = [stack.enter_context(FakeAws.local()) for _ in range(3)]
        openbao = stack.enter_context(OpenBao(folder / "openbao"))
        openbao.initialise()
        world = stack.enter_context(running(folder, *clouds, openbao))
        for row in ROWS:
            world.begin_anew()
            found[row.name] = _one(row, world)
    longest = max(found, key=lambda name: found[name][0])
    largest = max(found, key=lambda name: found[name][1])
    what = f"{len(ROWS)} faults, {sum(len(row.faults) for row in ROWS)} with their sources"
    (longest_s, _), (_, largest_mib) = found[longest], found[largest]
    return [
        Figure(f"{what}: longest refresh", longest_s, "s", _LIMIT_S, note=f"{longest}; with secretsctl"),
        Figure(f"{what}: largest worker", largest_mib, "MiB", _LIMIT_MIB + 1, note=f"{largest}; VmPeak"),
    ]


def _one(row: Row, world: World) -> tuple[float, float]:
    """Seconds of the refresh that meets the fault, and MiB of its largest worker."""
    world.rotate()
    world.break_(row)
    with world.daemon.largest_worker_kib() as largest_kib:
        spent_s = world.daemon.secretsctl("reload").spent_s
    return spent_s, largest_kib[0] / 1024


if __name__ == "__main__":
    print(table(measure()))
