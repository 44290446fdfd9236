"""From PutSecretValue to the bot's process that has its signal, by push alone; and what the listener takes.

    python -m tests.bench push

The installed package on Debian 12 with systemd; moto plays Secrets Manager, EventBridge and SQS behind a
proxy. AWS's own time from the rotation to the queue is not in it: an emitter puts the event at once.
"""

from __future__ import annotations

import statistics
import time

from tests.bench.figures import Figure, percentile, table
from tests.bench.machine import installed, processes, pss_mib, zygotes
from tests.lab.processes import Process
from tests.lab.push import FakePush
from tests.system.machine import SIGNAL, Machine, eventually

ROUNDS, COLD_ROUNDS = 100, 20
_GAP_S = 1.2  # a bundle is refreshed for hints once in a second at most
_SETTLED_S = 45.0  # two waits at the queue
_CONFIG = "/etc/secretsd/secretsd.toml"


def measure() -> list[Figure]:
    with installed() as machine:
        push = FakePush(machine.aws)
        _start(machine, push)
        turns = _Turns(machine, push)
        turns.latency_s()
        warm = [turns.latency_s() for _ in range(ROUNDS)]
        cold = []
        for _ in range(COLD_ROUNDS):
            machine.host.systemctl("stop", "secretsd-notify.service")
            machine.kill(*(zygote.pid_inside for zygote in zygotes(machine)))
            cold.append(turns.latency_s())
        time.sleep(_SETTLED_S)
        listener = pss_mib(_listeners(machine))
    note = f"{ROUNDS} rotations, action = signal"
    cold_note = f"{COLD_ROUNDS} rotations; zygote and notify helper had ended, as after a quiet minute"
    return [
        Figure(
            "PutSecretValue to the bot's signal by push, median", statistics.median(warm), "s", 1.5, note=note
        ),
        Figure("the same, p99", percentile(warm, 99), "s", note=note),
        Figure("the same after a quiet minute, median", statistics.median(cold), "s", 1.5, note=cold_note),
        Figure("the same after a quiet minute, slowest", max(cold), "s", note=cold_note),
        Figure("PSS of the listener", listener, "MiB", note="waiting at the queue"),
    ]


class _Turns:
    """One rotation after the other."""

    def __init__(self, machine: Machine, push: FakePush) -> None:
        self._machine, self._push, self._number = machine, push, 0

    def latency_s(self) -> float:
        """Of one rotation, on the clock that the machine shares with us."""
        time.sleep(_GAP_S)
        self._number += 1
        key = f"fake-key-of-turn-{self._number}"
        began = time.monotonic()
        self._push.put("bot/production", {"API_KEY": key})
        eventually(lambda: self._machine.seen("bot")[-1] == f"reload {key}", "the bot has the new key")
        return self._machine.seen_at("bot") - began


def _start(machine: Machine, push: FakePush) -> None:
    machine.add_bot("bot", "fake-key-of-turn-0", SIGNAL)
    machine.host.put(_CONFIG, machine.host.run(["cat", _CONFIG]).stdout + push.configuration + "\n")
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    eventually(lambda: _listeners(machine), "the listener runs")


def _listeners(machine: Machine) -> list[Process]:
    return [each for each in processes(machine) if any("push.listener" in word for word in each.argv)]


if __name__ == "__main__":
    print(table(measure()))
