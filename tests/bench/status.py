"""`secretsctl status` on a host with 200 bundles: start to exit, and the daemon's part of it.

    python -m tests.bench.status

The installed package on Debian 12's Python; beside it, in turns, what the bare interpreter takes.
"""

from __future__ import annotations

import json
import statistics

from tests.bench.figures import Figure, percentile, table
from tests.bench.machine import installed
from tests.system.machine import Machine, eventually

ROUNDS = 60
_BUNDLES, _FAILING = 200, 2
_OWNER = "bench"
_BARE, _ALL, _ONE = "bare", "all", "one"
_COMMANDS = {
    _BARE: ["/usr/bin/python3", "-IS", "-c", "pass"],
    _ALL: ["/usr/bin/secretsctl", "status"],
    _ONE: ["/usr/bin/secretsctl", "status", "bot-000"],
}
_BUNDLE = """
[bundles.bot-{number:03}]
owner = "bench"

[[bundles.bot-{number:03}.secrets]]
source = "aws"
id = "bot-{number:03}/production"

[bundles.bot-{number:03}.variables]
API_KEY = {{ min_length = 4 }}
API_SECRET = {{ min_length = 4 }}

[[bundles.bot-{number:03}.outputs]]
path = "env"
format = "env"

[[bundles.bot-{number:03}.on_change]]
unit = "bot-{number:03}.service"
action = "none"
"""
# Runs in the machine: what it takes to enter the machine must not be in the figures. The daemon's time is
# from the connection to the end of its answer, by a client that does nothing with it.
_STOPWATCH = """
import json, os, socket, sys, time
commands, rounds = json.loads(sys.argv[1]), int(sys.argv[2])
spent_ms = {name: [] for name in [*commands, "daemon"]}
nowhere = os.open(os.devnull, os.O_WRONLY)

def daemon():
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("/run/secretsd/control.sock")
        connection.sendall(b'{"command": "status"}\\n')
        while connection.recv(1 << 20):
            pass

for _ in range(rounds + 3):
    for name, argv in commands.items():
        began = time.perf_counter()
        pid = os.posix_spawn(
            argv[0], argv, {"PATH": "/usr/bin"}, file_actions=[(os.POSIX_SPAWN_DUP2, nowhere, 1)]
        )
        status = os.waitpid(pid, 0)[1]
        spent_ms[name].append((time.perf_counter() - began) * 1000)
        if status:
            sys.exit(f"{name} ended with {os.waitstatus_to_exitcode(status)}")
    began = time.perf_counter()
    daemon()
    spent_ms["daemon"].append((time.perf_counter() - began) * 1000)
json.dump({name: values[3:] for name, values in spent_ms.items()}, sys.stdout)
"""


def measure() -> list[Figure]:
    with installed() as machine:
        _configure(machine)
        argv = ["/usr/bin/python3", "-IS", "-c", _STOPWATCH, json.dumps(_COMMANDS), str(ROUNDS)]
        spent_ms = json.loads(machine.host.run(argv, timeout_s=300).stdout)
    what = f"status of {_BUNDLES} bundles"
    note = f"{ROUNDS} runs, {' '.join(_COMMANDS[_ALL])}"
    return [
        Figure(f"{what}, median", statistics.median(spent_ms[_ALL]), "ms", 100, note=note),
        Figure(f"{what}, p95", percentile(spent_ms[_ALL], 95), "ms", 100, note=note),
        Figure(
            f"{what}, of it the daemon's answer", statistics.median(spent_ms["daemon"]), "ms", note="median"
        ),
        Figure("status of one of them, median", statistics.median(spent_ms[_ONE]), "ms"),
        Figure("the bare interpreter beside it, median", statistics.median(spent_ms[_BARE]), "ms"),
    ]


def _configure(machine: Machine) -> None:
    """200 bundles, all published but two whose secrets are not there."""
    machine.host.run(["useradd", "--system", _OWNER])
    for number in range(_BUNDLES):
        text = _BUNDLE.format(number=number)
        machine.host.put(f"/etc/secretsd/conf.d/bot-{number:03}.toml", text)
        if number >= _FAILING:
            keys: dict[str, object] = {"API_KEY": "fake-key", "API_SECRET": "fake-secret"}
            machine.aws.create(f"bot-{number:03}/production", keys)
    machine.restart_secretsd()
    words = f"{_BUNDLES} bundles: {_FAILING} missing"
    eventually(lambda: words in machine.secretsctl("status")[1], "all but two are published", timeout_s=60)


if __name__ == "__main__":
    print(table(measure()))
