"""Many secrets: API calls, seconds, and what the daemon costs while it has nothing to do.

    python -m tests.bench.scale

The installed package on Debian 12 with systemd, moto on this machine behind a proxy that counts.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

from tests.bench.figures import Figure, table
from tests.bench.machine import installed, make_idle, processes, pss_mib
from tests.lab.processes import Process
from tests.system.machine import Machine

_MANY_BUNDLES, _MANY_PER_BUNDLE = 20, 10
_FEW = (7, 7, 6)  # 20 secrets in 3 bundles
_STARTS = 10
_IDLE_S = 60.0
_WATCHDOG_S = 7.5  # half of WatchdogSec=15 in secretsd.service

_SECRET = """
[[bundles.{bundle}.secrets]]
source = "aws"
id = "{secret_id}"
variables = {{ {variable} = "value" }}
"""
OWNER = "bench"


def measure() -> list[Figure]:
    with installed() as machine:
        machine.host.run(["useradd", "--system", OWNER])
        few = _figures_of_few(machine)
    with installed() as machine:
        machine.host.run(["useradd", "--system", OWNER])
        return [*_figures_of_many(machine), *few]


def _figures_of_many(machine: Machine) -> list[Figure]:
    secret_ids = configure(machine, [_MANY_PER_BUNDLE] * _MANY_BUNDLES)
    machine.proxy.forget_calls()
    first_start_s = _start_s(machine)
    first_calls = sum(machine.proxy.counts.values())

    machine.proxy.forget_calls()
    same_s = reload_s(machine)
    calls = sum(machine.proxy.counts.values())

    for secret_id in secret_ids:
        machine.aws.put(secret_id, {"value": "fake-value-2"})
    rotated_s = reload_s(machine)
    make_idle(machine)
    idle = pss_mib(processes(machine))
    many = "200 secrets in 20 bundles"
    return [
        Figure(f"{many}, API calls of a refresh", calls, "", 10, exactly=True, note="BatchGetSecretValue"),
        Figure(f"{many}, API calls of the first start", first_calls, "", 10, exactly=True),
        Figure(f"{many}, refresh, all rotated", rotated_s, "s", 2, note="secretsctl reload, zygote warm"),
        Figure(f"{many}, refresh, nothing rotated", same_s, "s", 2, note="secretsctl reload, zygote warm"),
        Figure(f"{many}, first start to READY", first_start_s, "s", note="nothing published before"),
        Figure(f"{many}, idle PSS in all", idle, "MiB", 40, note="zygote and helper have ended"),
    ]


def _figures_of_few(machine: Machine) -> list[Figure]:
    configure(machine, list(_FEW))
    _start_s(machine)
    starts = [_start_s(machine) for _ in range(_STARTS)]
    make_idle(machine)
    idle = pss_mib(processes(machine))
    wakeups = _wakeups_a_minute(machine)
    timers = _IDLE_S / _WATCHDOG_S
    few = "20 secrets in 3 bundles"
    return [
        Figure(
            f"{few}, start to READY, median",
            statistics.median(starts),
            "s",
            1,
            note=f"{_STARTS} warm starts; from exec to READY=1 as systemd saw it",
        ),
        Figure(f"{few}, start to READY, worst", max(starts), "s"),
        Figure(f"{few}, idle PSS in all", idle, "MiB", 40, note="zygote and helper have ended"),
        Figure(
            "idle wake-ups in a minute",
            wakeups,
            "",
            timers + 1.5,
            note=f"the watchdog's timer alone makes {timers:.0f}; voluntary switches of all threads",
        ),
    ]


def configure(machine: Machine, sizes: list[int]) -> list[str]:
    """Bundles of these many secrets, each a JSON object of its own; returns the ids of the secrets."""
    secret_ids = []
    for number, size in enumerate(sizes):
        bundle = f"bench-{number:02}"
        text = f'[bundles.{bundle}]\nowner = "{OWNER}"\n'
        for index in range(size):
            secret_id = f"{bundle}/secret-{index:02}"
            text += _SECRET.format(bundle=bundle, secret_id=secret_id, variable=f"FAKE_KEY_{index}")
            machine.aws.create(secret_id, {"value": f"fake-value-of-{secret_id}"})
            secret_ids.append(secret_id)
        machine.host.put(f"/etc/secretsd/conf.d/{bundle}.toml", text)
    return secret_ids


def _start_s(machine: Machine) -> float:
    machine.restart_secretsd()
    began, ready = (
        int(machine.host.show("secretsd", name))
        for name in ("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic")
    )
    _check_all_published(machine)
    return (ready - began) / 1e6


def reload_s(machine: Machine) -> float:
    began = time.perf_counter()
    machine.host.run(["secretsctl", "reload"], timeout_s=60)
    return time.perf_counter() - began


def _check_all_published(machine: Machine) -> None:
    # READY also comes when first attempts have failed: a quick start like that would be no figure.
    document = json.loads(machine.host.run(["secretsctl", "status", "--json"]).stdout)
    for name, bundle in document["bundles"].items():
        if bundle["state"] != "loaded" or bundle["confirmed_at"] is None:
            raise SystemExit(f"READY although {name} is {bundle['state']}: {bundle['failures']}")


def _wakeups_a_minute(machine: Machine) -> float:
    (conductor,) = processes(machine)
    before = _voluntary_switches(conductor)
    time.sleep(_IDLE_S)
    return (_voluntary_switches(conductor) - before) * 60 / _IDLE_S


def _voluntary_switches(process: Process) -> int:
    statuses = Path(f"/proc/{process.pid_outside}/task").glob("*/status")
    return sum(
        int(line.split()[1])
        for status in statuses
        for line in status.read_text().splitlines()
        if line.startswith("voluntary_ctxt_switches:")
    )


if __name__ == "__main__":
    print(table(measure()))
