"""Copies of a secret in secretsd's long-lived processes after ten rotations.

    python -m tests.bench.memory_scan

The installed package on Debian 12; reads /proc/PID/mem of conductor, zygote and notify helper as root, and
looks for the secret raw, in UTF-16 and -32, base64 (each alignment), hex and JSON-escaped. Before that it
must find each form where it was planted: in a Python process that keeps its memory as the daemon does.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.figures import Figure, table
from tests.bench.machine import installed, processes
from tests.bench.traces import Marker, Search, search
from tests.lab.processes import Process
from tests.system.machine import SIGNAL, Machine

ROTATIONS = 10
_ROOT = Path(__file__).resolve().parents[2]
_KEEPER = """
import sys
sys.path.insert(0, sys.argv[1])
from secretsd import process
process.forbid_dumps()
kept = sys.stdin.buffer.readline()
print("ready", flush=True)
sys.stdin.buffer.read()
"""


def measure(suite: str = "bookworm") -> list[Figure]:
    """Raises SystemExit where a planted copy was not found: then 0 found would mean nothing."""
    marker = Marker.random()
    if blind := blind_spots(marker):
        raise SystemExit(f"the scan is blind for {', '.join(blind)}")
    with installed(suite) as machine:
        _rotate(machine, marker)
        members = _long_lived(machine)
        searches = {role: search(process.pid_outside, _needles(marker)) for role, process in members.items()}
    return [_figure(marker, role, result) for role, result in searches.items()]


def blind_spots(marker: Marker) -> list[str]:
    """Plants each form of a secret in a process of its own; returns the forms that were not found there."""
    blind = []
    for form, needles in marker.needles().items():
        counts = dict.fromkeys(needles, 0)
        for planted in marker.forms(1)[form]:
            with _keeper(planted) as pid:
                for needle, count in search(pid, list(needles)).found.items():
                    counts[needle] += count
        blind += [f"{form} ({needle[:4]!r}...)" for needle, count in counts.items() if count == 0]
    return blind


@contextmanager
def _keeper(planted: bytes) -> Iterator[int]:
    argv = [sys.executable, "-I", "-c", _KEEPER, str(_ROOT)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as keeper:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        keeper.stdin.write(planted + b"\n")
        keeper.stdin.flush()
        keeper.stdout.readline()
        yield keeper.pid


def _rotate(machine: Machine, marker: Marker) -> None:
    machine.add_bot("bot", marker.value(0), SIGNAL)
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    before = _long_lived(machine)
    for version in range(1, ROTATIONS + 1):
        machine.rotate("bot", marker.value(version))
        code, said = machine.secretsctl("reload", "bot")
        if code != 0:
            raise SystemExit(f"rotation {version} did not arrive: {said}")
    # As PID 1 reads it for the bot: what was looked for is what was published.
    text = machine.host.read("/run/secretsd/bot/env")
    if marker.head not in text or f"{ROTATIONS:03}{marker.tail}" not in text:
        raise SystemExit("the last version was not published")
    after = _long_lived(machine)
    for role in ("conductor", "zygote"):
        if before[role].pid_outside != after[role].pid_outside:
            raise SystemExit(
                f"the {role} was started anew between the rotations: nothing long-lived to search"
            )


def _long_lived(machine: Machine) -> dict[str, Process]:
    roles = {"secretsd": "conductor", "zygote": "zygote", "notify-helper": "notify helper"}
    found: dict[str, Process] = {}
    for process in processes(machine):
        line = " ".join(process.argv)
        word = "zygote" if "zygote" in line else "notify-helper" if "notify-helper" in line else "secretsd"
        # Of zygote and worker, the zygote is the one that was there first.
        found.setdefault(roles[word], process)
    return found


def _needles(marker: Marker) -> list[bytes]:
    return [needle for needles in marker.needles().values() for needle in needles]


def _figure(marker: Marker, role: str, result: Search) -> Figure:
    if result.unreadable_bytes > result.searched_bytes / 100:
        raise SystemExit(f"{result.unreadable_bytes} bytes of the {role} could not be read")
    forms = [
        form for form, needles in marker.needles().items() if any(result.found[needle] for needle in needles)
    ]
    searched = f"{ROTATIONS} rotations, {result.searched_bytes / 2**20:.0f} MiB searched"
    return Figure(
        f"copies of a secret in the {role}",
        sum(result.found.values()),
        "",
        0,
        exactly=True,
        note=f"{searched}{'; found: ' if forms else ''}{', '.join(forms)}",
    )


if __name__ == "__main__":
    print(table(measure()))
