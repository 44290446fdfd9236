"""`secretsctl wait` on a published bundle, as a unit's ExecStartPre= runs it: start to exit.

    python -m tests.bench.wait

The installed package on Debian 12's Python; beside it, in turns, what the bare interpreter takes.
"""

from __future__ import annotations

import json
import statistics

from tests.bench.figures import Figure, percentile, table
from tests.bench.machine import installed

ROUNDS = 200
_BARE, _WAIT = "bare", "wait"
_COMMANDS = {
    _BARE: ["/usr/bin/python3", "-IS", "-c", "pass"],
    _WAIT: ["/usr/bin/secretsctl", "wait", "bot"],
}
# Runs in the machine: what it takes to enter the machine must not be in the figure.
_STOPWATCH = """
import json, os, sys, time
commands, rounds = json.loads(sys.argv[1]), int(sys.argv[2])
spent_ms = {name: [] for name in commands}
for _ in range(rounds + 3):
    for name, argv in commands.items():
        began = time.perf_counter()
        pid = os.posix_spawn(argv[0], argv, {"PATH": "/usr/bin"})
        status = os.waitpid(pid, 0)[1]
        spent_ms[name].append((time.perf_counter() - began) * 1000)
        if status:
            sys.exit(f"{name} ended with {os.waitstatus_to_exitcode(status)}")
json.dump({name: values[3:] for name, values in spent_ms.items()}, sys.stdout)
"""


def measure() -> list[Figure]:
    with installed() as machine:
        machine.add_bot("bot", "fake-key", None)
        machine.restart_secretsd()
        # As itself, not as root: it is the bot's user that waits.
        argv = ["/usr/bin/python3", "-IS", "-c", _STOPWATCH, json.dumps(_COMMANDS), str(ROUNDS)]
        spent_ms = json.loads(machine.host.run(argv, user="bot", timeout_s=120).stdout)
    wait_ms, bare_ms = spent_ms[_WAIT], spent_ms[_BARE]
    note = f"{ROUNDS} runs, {' '.join(_COMMANDS[_WAIT])}"
    return [
        Figure("wait on a published bundle, median", statistics.median(wait_ms), "ms", 30, note=note),
        Figure("wait on a published bundle, p95", percentile(wait_ms, 95), "ms", 30, note=note),
        Figure(
            "the bare interpreter beside it, median",
            statistics.median(bare_ms),
            "ms",
            note=" ".join(_COMMANDS[_BARE]),
        ),
    ]


if __name__ == "__main__":
    print(table(measure()))
