"""500 bundles against 5: what grows with them, and how.

    python -m tests.bench.growth

Two secrets a bundle. The installed package on Debian 12 with systemd, moto on this machine behind a proxy
that counts.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Figure, table
from tests.bench.machine import installed, make_idle, processes, pss_mib, zygotes
from tests.bench.scale import OWNER, configure, reload_s
from tests.system.machine import Machine

_FEW, _MANY = 5, 500
_SECRETS_EACH = 2
_BATCH = 20  # secrets a BatchGetSecretValue
_WORKER_LIMIT_MIB = 300


@dataclass(frozen=True, slots=True)
class _Cost:
    """What a number of bundles takes."""

    same_s: float  # a refresh in which nothing was rotated
    rotated_s: float  # one in which everything was
    calls: int
    worker_mib: float  # address space at its highest, which is what is limited
    conductor_mib: float


def measure() -> list[Figure]:
    few, many = _cost_of(_FEW), _cost_of(_MANY)
    secrets, ratio = _MANY * _SECRETS_EACH, _MANY // _FEW
    what = f"{_MANY} bundles, {secrets} secrets"
    return [
        Figure(
            f"{what}, API calls of a refresh",
            many.calls,
            "",
            math.ceil(secrets / _BATCH),
            exactly=True,
            note=f"{_FEW} bundles: {few.calls}",
        ),
        Figure(
            f"{what}, refresh, nothing rotated", many.same_s, "s", 7, note=_grown(few.same_s, many.same_s)
        ),
        Figure(
            f"{what}, refresh, all rotated",
            many.rotated_s,
            "s",
            7,
            note=_grown(few.rotated_s, many.rotated_s),
        ),
        Figure(
            f"{what}, address space of the worker",
            many.worker_mib,
            "MiB",
            _WORKER_LIMIT_MIB,
            note=f"highest sample; {_FEW} bundles: {few.worker_mib:.0f} MiB",
        ),
        Figure(
            f"{what}, PSS of the conductor, idle",
            many.conductor_mib,
            "MiB",
            note=f"{_FEW} bundles: {few.conductor_mib:.1f} MiB",
        ),
        Figure(
            f"growth of the conductor for {ratio} times as many bundles",
            1024 * (many.conductor_mib - few.conductor_mib) / (_MANY - _FEW),
            "KiB",
            note="for each bundle more",
        ),
    ]


def _grown(few_s: float, many_s: float) -> str:
    return f"{_FEW} bundles: {few_s:.2f} s; {1000 * (many_s - few_s) / (_MANY - _FEW):.1f} ms for each more"


def _cost_of(bundles: int) -> _Cost:
    with installed() as machine:
        machine.host.run(["useradd", "--system", OWNER])
        secret_ids = configure(machine, [_SECRETS_EACH] * bundles)
        machine.restart_secretsd()
        machine.host.run(["secretsctl", "reload"], timeout_s=120)
        machine.proxy.forget_calls()
        with _largest_worker_mib(machine) as worker_mib:
            same_s = reload_s(machine)
            calls = len(machine.proxy.calls)
            for secret_id in secret_ids:
                machine.aws.put(secret_id, {"value": "fake-value-2"})
            rotated_s = reload_s(machine)
        make_idle(machine)
        return _Cost(same_s, rotated_s, calls, worker_mib[0], pss_mib(processes(machine)))


@contextmanager
def _largest_worker_mib(machine: Machine) -> Iterator[list[float]]:
    """Samples the address space of the zygote and its workers; what it yields holds the highest."""
    highest, stop = [0.0], threading.Event()

    def sample() -> None:
        while not stop.wait(0.02):
            for process in zygotes(machine):
                highest[0] = max(highest[0], _peak_mib(process.pid_outside))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield highest
    finally:
        stop.set()
        thread.join()


def _peak_mib(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmPeak:"):
                return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    print(table(measure()))
