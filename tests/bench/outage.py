"""Days without AWS: does every bot that starts meanwhile start, with the last good key?

    python -m tests.bench.outage

72 hours, an hour being a second: bundles are refreshed once an "hour". The installed package on Debian 12
with systemd. AWS answers with errors, hangs, and is gone, in turns; meanwhile secretsd is restarted, killed,
and restarted, the host is rebooted (its tmpfs is empty then: the sealed copies are what is left), and systemd
starts bots that end by themselves all the time, and two that an operator restarts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bench.figures import Figure, table
from tests.bench.machine import installed
from tests.lab import faults
from tests.lab.faults import Away, Fault
from tests.system.machine import Machine, eventually

HOURS = 72
HOUR_S = 1.0
_KEY = "fake-key-before"
_BOTS = ("steady", "nightly")  # restarted by an operator
_RESTLESS = ("worker-a", "worker-b")  # end by themselves and are started again by systemd
_LOG = "/var/lib/bots"
# On the disk, since a reboot is in the middle of it. "tried" is noted before anything can fail; a start that
# somebody stops in its middle notes no more than that.
_UNIT = """
[Unit]
After=secretsd.service
Wants=secretsd.service
StartLimitIntervalSec=0
[Service]
User={name}
ExecStartPre=/bin/sh -c 'echo tried >>{log}/{name}'
ExecStartPre=/bin/sh -c 'secretsctl wait {name}; c=$$?; echo waited $$c >>{log}/{name}; exit $$c'
EnvironmentFile=-/run/secretsd/{name}/env
ExecStart=/bin/sh -c 'echo "started $API_KEY" >>{log}/{name}; exec sleep {life}'
Restart=always
RestartSec=100ms
TimeoutStartSec=40
[Install]
WantedBy=multi-user.target
"""
_RESTLESS_LIFE_S = 0.4
_FAULTS: tuple[Fault, ...] = (faults.UNAVAILABLE, Away.REFUSED, faults.Reset(), faults.Hang())
_SEALED = 'sealed_copy = { max_age = "7d" }'


@dataclass(frozen=True, slots=True)
class Starts:
    """What the bots' units have noted."""

    tried: int
    failures: tuple[str, ...]  # how `secretsctl wait` ended where it did not end well
    with_wrong_key: int


@dataclass(frozen=True, slots=True)
class Survived:
    """An outage as a host has lived through it."""

    lasted_s: float
    requests: int  # that reached AWS's address meanwhile
    planted: int  # starts that were made to fail before, and were counted
    starts: Starts
    back_s: float  # from its end to the last file that shows what was rotated in it


def measure() -> list[Figure]:
    with installed() as machine:
        found = survive(machine, HOURS)
    what = f"{HOURS} h without AWS"
    wait = "by systemd, ExecStartPre=secretsctl wait"
    planted = f"a planted failure was found first ({found.planted})"
    return [
        Figure(f"{what}, it lasted", found.lasted_s, "s", note="an hour = 1 s; refresh_interval = 1s"),
        Figure(f"{what}, requests to AWS meanwhile", found.requests, "", note="but for those refused by TCP"),
        Figure(f"{what}, restarts of secretsd", 3, "", note="systemctl restart, kill -9, systemctl restart"),
        Figure(f"{what}, reboots", 1, "", note="tmpfs emptied; bots start from sealed copies"),
        Figure(f"{what}, bot starts tried", found.starts.tried, "", note=wait),
        Figure(f"{what}, bot starts failed", len(found.starts.failures), "", 0, exactly=True, note=planted),
        Figure(f"{what}, bot starts with another key", found.starts.with_wrong_key, "", 0, exactly=True),
        Figure(f"{what}, end of it to files", found.back_s, "s", 5, note="with what was rotated meanwhile"),
    ]


def survive(machine: Machine, hours: int) -> Survived:
    """Lives through an outage of so many hours, each a second."""
    _set_up(machine)
    planted = _failure_is_seen(machine)
    machine.proxy.forget_calls()
    began = time.monotonic()
    with _outage(machine):
        _live_through(machine, hours)
        lasted_s, requests = time.monotonic() - began, len(machine.proxy.calls)
        starts = _starts(machine)
    return Survived(lasted_s, requests, planted, starts, _comes_back(machine))


def _set_up(machine: Machine) -> None:
    machine.host.run(["secretsctl", "seal-setup", "--with-key", "host"])
    machine.configure('refresh_jitter = "0s"\nseal_key = "credential:secretsd-seal-key"')
    machine.host.sh(f"sed -i 's/^refresh_interval = .*/refresh_interval = \"{HOUR_S:.0f}s\"/' {_CONFIG}")
    machine.host.sh(f"mkdir -p -m 1777 {_LOG}")
    for name in (*_BOTS, *_RESTLESS):
        machine.add_bot(name, _KEY, None, bundle=_SEALED)
        _write_unit(machine, name)
    machine.restart_secretsd()
    for name in (*_BOTS, *_RESTLESS):
        eventually(lambda name=name: _is_sealed(machine, name), f"{name} is sealed")
        machine.host.systemctl("enable", "--now", name)


_CONFIG = "/etc/secretsd/secretsd.toml"


def _write_unit(machine: Machine, name: str) -> None:
    life = f"{_RESTLESS_LIFE_S}" if name in _RESTLESS else "infinity"
    text = _UNIT.format(name=name, log=_LOG, life=life)
    machine.host.put(f"/etc/systemd/system/{name}.service", text)
    machine.host.systemctl("daemon-reload")


def _is_sealed(machine: Machine, name: str) -> bool:
    sealed = machine.status(name)["sealed"]
    return bool(sealed and sealed["confirmed_at"])


def _failure_is_seen(machine: Machine) -> int:
    """A bot without a bundle must be counted as one that failed to start, or the count is worth nothing."""
    machine.add_bot("planted", None, None)
    text = _UNIT.format(name="planted", log=_LOG, life="infinity").replace(
        "wait planted", "wait planted --timeout 1s"
    )
    machine.host.put("/etc/systemd/system/planted.service", text.replace("Restart=always", "Restart=no"))
    machine.host.systemctl("daemon-reload")
    machine.host.systemctl("start", "planted", check=False)
    failed = len(_starts(machine, ("planted",)).failures)
    if failed != 1:
        raise SystemExit("the planted failure of a start was not seen: the figures would mean nothing")
    machine.host.run(["rm", "-f", "/etc/secretsd/conf.d/planted.toml"])
    machine.host.run(["secretsctl", "reload"])
    return failed


@contextmanager
def _outage(machine: Machine) -> Iterator[None]:
    machine.proxy.set(_FAULTS[0])
    for name in (*_BOTS, *_RESTLESS):
        machine.rotate(name, "fake-key-after")  # nobody can see it yet
    try:
        yield
    finally:
        machine.proxy.clear()


def _live_through(machine: Machine, hours: int) -> None:
    """What happens to a host, by the hour."""
    events: dict[int, Callable[[], object]] = {
        hours * 1 // 6: machine.restart_secretsd,
        hours * 2 // 6: lambda: _kill(machine),
        hours * 3 // 6: machine.host.reboot,
        hours * 5 // 6: machine.restart_secretsd,
    }
    began = time.monotonic()
    hour = 0
    while hour < hours:
        hour = int((time.monotonic() - began) / HOUR_S)
        for due in [each for each in events if each <= hour]:
            events.pop(due)()
        machine.proxy.set(_FAULTS[hour * 8 // hours % len(_FAULTS)])
        machine.host.systemctl("restart", _BOTS[hour % len(_BOTS)], check=False)
        time.sleep(HOUR_S)


def _kill(machine: Machine) -> None:
    machine.kill(int(machine.host.show("secretsd", "MainPID")))


def _comes_back(machine: Machine) -> float:
    """Seconds until what was rotated in the outage is published everywhere."""
    began = time.monotonic()
    eventually(
        lambda: machine.host.sh("cat /run/secretsd/*/env").count("fake-key-after") == 4,
        "the rotation is published",
        timeout_s=60,
    )
    return time.monotonic() - began


def _starts(machine: Machine, names: tuple[str, ...] = (*_BOTS, *_RESTLESS)) -> Starts:
    """Of these bots, once none is in the middle of a start."""
    machine.host.run(["systemctl", "stop", *names], timeout_s=60)
    lines = [line for name in names for line in machine.host.sh(f"cat {_LOG}/{name}").splitlines()]
    return Starts(
        tried=lines.count("tried"),
        failures=tuple(line for line in lines if line.startswith("waited ") and line != "waited 0"),
        with_wrong_key=sum(line.startswith("started ") and line != f"started {_KEY}" for line in lines),
    )


if __name__ == "__main__":
    print(table(measure()))
