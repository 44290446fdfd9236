"""A forced refresh of a rotated secret until the bot's process has its signal, and what it takes in memory.

    python -m tests.bench.refresh

The installed package on Debian 12 with systemd, moto on this machine behind a proxy that counts. From the
start of `secretsctl reload` to the bot's handler: fetch, checks, publish, journal, the notify helper, kill.
"""

from __future__ import annotations

import json
import statistics

from tests.bench.figures import Figure, percentile, table
from tests.bench.machine import highest_pss_mib, installed, make_idle, processes, pss_mib, zygotes
from tests.system.machine import Machine

ROUNDS = 20
_ON_CHANGE = {
    "signal": 'action = "signal"\nsignal = "SIGHUP"\nconfirm = "100ms"',
    "reload": 'action = "reload"\nconfirm = "100ms"',
}
# Notes when its handler ran; the clock is the one that the stopwatch reads, too.
_BOT = """
import os, signal, socket, time
log = os.open("/run/bots/bot.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
signal.signal(signal.SIGHUP, lambda *_: os.write(log, b"%.6f\\n" % time.monotonic()))
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1))
while True:
    signal.pause()
"""
_STOPWATCH = """
import json, os, sys, time
argv = ["/usr/bin/secretsctl", "reload", "bot"]
began = time.monotonic()
quiet = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
pid = os.posix_spawn(argv[0], argv, {"PATH": "/usr/bin"}, file_actions=quiet)
status = os.waitpid(pid, 0)[1]
ended = time.monotonic()
last = float(open("/run/bots/bot.log").read().split()[-1])
if status or last < began:
    sys.exit(f"reload ended with {os.waitstatus_to_exitcode(status)}, the bot was told: {last > began}")
json.dump({"signalled_ms": (last - began) * 1000, "ended_ms": (ended - began) * 1000}, sys.stdout)
"""


def measure() -> list[Figure]:
    with installed() as machine:
        _start(machine, "signal")
        rotations = iter(range(2, 1_000_000))

        def signalled_ms() -> float:
            machine.rotate("bot", f"fake-key-{next(rotations)}")
            done = machine.host.run(["/usr/bin/python3", "-IS", "-c", _STOPWATCH], timeout_s=60)
            return float(json.loads(done.stdout)["signalled_ms"])

        make_idle(machine)
        before = pss_mib(processes(machine))
        signalled_ms()
        warm = [signalled_ms() for _ in range(ROUNDS)]
        with highest_pss_mib(machine) as during:
            for _ in range(3):
                signalled_ms()
        after = pss_mib(processes(machine))
        cold = []
        for _ in range(ROUNDS):
            _cool_down(machine)
            cold.append(signalled_ms())
        _start(machine, "reload")
        signalled_ms()
        by_reload = [signalled_ms() for _ in range(ROUNDS)]
    note = f"{ROUNDS} runs, action = signal"
    return [
        Figure(
            "refresh to signal, warm zygote, median",
            statistics.median(warm),
            "ms",
            300,
            note=note,
        ),
        Figure("refresh to signal, warm zygote, p95", percentile(warm, 95), "ms", note=note),
        Figure(
            "refresh to signal, cold zygote, median",
            statistics.median(cold),
            "ms",
            900,
            note=f"{note}; the notify helper is cold, too",
        ),
        Figure("refresh to signal, cold zygote, p95", percentile(cold, 95), "ms", note=note),
        Figure(
            "refresh to the handler by reload, warm zygote, median",
            statistics.median(by_reload),
            "ms",
            note=f"{ROUNDS} runs, action = reload (systemctl, then the unit's own kill)",
        ),
        Figure("PSS of all processes before a refresh", before, "MiB", note="idle: the conductor alone"),
        Figure("PSS of all processes during a refresh", during[0], "MiB", note="highest sample"),
        Figure(
            "PSS of all processes after a refresh",
            after,
            "MiB",
            note="conductor, zygote and notify helper; both end by themselves",
        ),
    ]


def _start(machine: Machine, action: str) -> None:
    machine.add_bot("bot", "fake-key-1" if action == "signal" else None, _ON_CHANGE[action])
    machine.host.put("/usr/local/lib/bot.py", _BOT)
    machine.restart_secretsd()
    machine.host.systemctl("restart", "bot")


def _cool_down(machine: Machine) -> None:
    """As a minute without work leaves it."""
    machine.host.systemctl("stop", "secretsd-notify.service")
    machine.kill(*(zygote.pid_inside for zygote in zygotes(machine)))


if __name__ == "__main__":
    print(table(measure()))
