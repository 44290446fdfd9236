"""secretsd beside the OpenBao Agent: the same 20 secrets of the same server, one file each.

    python -m tests.bench openbao_agent

The installed package on Debian 12 with systemd; the server and the Agent run in that machine's network. Both
look for new versions once a second where a rotation is timed, and as they do by themselves otherwise.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench import openbao_values
from tests.bench.figures import Figure, table
from tests.bench.machine import installed, make_idle, processes, pss_mib
from tests.lab.openbao import BAO, OpenBao
from tests.system.machine import Machine, eventually

SECRETS = 20
_STARTS = 10
_ROTATIONS = 20
_UP_S = 20.0
_SETTLED_S = 5.0
_AGENT = """
vault {{ address = "{address}" }}
auto_auth {{ method "token_file" {{ config = {{ token_file_path = "{directory}/token" }} }} }}
{more}
"""
_TEMPLATE = """
template {{
  contents = {contents}
  destination = "{destination}"
  {more}
}}
"""
_EACH_SECOND = 'template_config { static_secret_render_interval = "1s" }'
# What a bot's command would begin with: when it runs. /proc/uptime counts in hundredths of a second.
_COMMAND = 'exec {{ command = ["/bin/sh", "-c", "read -r up rest </proc/uptime; echo $up >>{log}"] }}'
_SOURCE = """
[daemon]
refresh_interval = "{interval}"
refresh_jitter = "0s"
[sources.bao]
type = "vault"
address = "{address}"
login = {{ method = "token", token = "file:/etc/secretsd/token" }}
"""
_BUNDLE = """
[bundles.b{number}]
owner = "root"
[[bundles.b{number}.secrets]]
source = "bao"
id = "bench/{number}"
[bundles.b{number}.variables]
VALUE = {{}}
"""
_TOLD = """
[[bundles.b0.on_change]]
unit = "told.service"
action = "signal"
signal = "SIGHUP"
confirm = "0s"
"""
# Notes when its handler ran, by the clock of /proc/uptime.
_BOT = """
import os, signal, socket, time
log = os.open("/run/told.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
now = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
signal.signal(signal.SIGHUP, lambda *_: os.write(log, b"%.6f\\n" % now()))
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1))
while True:
    signal.pause()
"""
_UNIT = "[Service]\nType=notify\nExecStart=/usr/bin/python3 -I /usr/local/lib/told.py\n"


def measure() -> list[Figure]:
    with installed() as machine, tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        prefix = ("nsenter", "-t", str(machine.host.leader), "-n")
        with OpenBao(directory / "bao", prefix) as server:
            server.initialise()
            for number in range(SECRETS):
                _write(server, number, "fake-value-0")
            agent = Agent(server, directory / "agent", prefix)
            figures = [*_of_agent(agent), *_of_secretsd(machine, server)]
            return [*figures, *openbao_values.measure(machine, server, agent)]


def _write(server: OpenBao, number: int, value: str) -> None:
    server.put(f"bench/{number}", {"VALUE": value})


# --- the Agent --------------------------------------------------------------------------------------------


class Agent:
    """The OpenBao Agent, with a template for each file."""

    def __init__(self, server: OpenBao, directory: Path, prefix: Sequence[str]) -> None:
        self.out = directory / "out"
        self._server, self._directory, self._prefix = server, directory, prefix
        directory.mkdir()
        (directory / "token").write_text(server.token)

    def configure(self, templates: Sequence[tuple[str, str]], *, more: str = "", command: str = "") -> None:
        """`templates` are contents and the names of their files; `command` is for the first one."""
        text = _AGENT.format(address=self._server.address, directory=self._directory, more=more)
        for number, (contents, name) in enumerate(templates):
            text += _TEMPLATE.format(
                contents=json.dumps(contents),
                destination=self.out / name,
                more=command if number == 0 else "",
            )
        (self._directory / "agent.hcl").write_text(text)

    @contextmanager
    def running(self, files: int) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
        """The process, and the seconds from its start to the last of so many files."""
        shutil.rmtree(self.out, ignore_errors=True)
        began = time.monotonic()
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._directory)}
        argv = [*self._prefix, str(BAO), "agent", f"-config={self._directory}/agent.hcl"]
        with subprocess.Popen(
            argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                _until(lambda: self._written() >= files, "the Agent")
                yield process, time.monotonic() - began
            finally:
                process.kill()

    def _written(self) -> int:
        """Files that have their own name: it writes them under others, and renames them."""
        return sum(path.name.isdigit() for path in self.out.iterdir()) if self.out.is_dir() else 0


def _of_agent(agent: Agent) -> Iterator[Figure]:
    read = '{{{{ with secret "secret/data/bench/{number}" }}}}VALUE={{{{ .Data.data.VALUE }}}}{{{{ end }}}}\n'
    templates = [(read.format(number=number), str(number)) for number in range(SECRETS)]
    agent.configure(templates)
    starts = []
    for _ in range(_STARTS):
        with agent.running(SECRETS) as (_, spent_s):
            starts.append(spent_s)
    with agent.running(SECRETS) as (process, _):
        time.sleep(_SETTLED_S)
        idle = _pss_mib(process.pid)
    log = agent.out.parent / "told.log"
    agent.configure(templates, more=_EACH_SECOND, command=_COMMAND.format(log=log))
    with agent.running(SECRETS):
        time.sleep(_SETTLED_S)
        told = _rotated_s(agent._server, log)
    what = f"OpenBao Agent, {SECRETS} secrets"
    yield Figure(f"{what}, start to the last file", statistics.median(starts), "s", note=f"{_STARTS} starts")
    yield Figure(f"{what}, idle PSS", idle, "MiB", note=f"{_SETTLED_S:.0f} s after the start")
    yield _rotation_figure(what, told, "template_config 1s, exec")


# --- secretsd ---------------------------------------------------------------------------------------------


def _of_secretsd(machine: Machine, server: OpenBao) -> Iterator[Figure]:
    machine.host.put("/etc/secretsd/token", server.token, mode=0o640, owner="root:secretsd")
    for number in range(SECRETS):
        machine.host.put(f"/etc/secretsd/conf.d/b{number}.toml", _BUNDLE.format(number=number))
    _configure(machine, server, "1h")
    machine.restart_secretsd()
    starts = [_start_s(machine) for _ in range(_STARTS)]
    make_idle(machine)
    idle = pss_mib(processes(machine))
    machine.host.put("/usr/local/lib/told.py", _BOT)
    machine.host.put("/etc/systemd/system/told.service", _UNIT)
    machine.host.put("/etc/secretsd/conf.d/b0.toml", _BUNDLE.format(number=0) + _TOLD)
    _configure(machine, server, "1s")
    machine.host.systemctl("daemon-reload")
    machine.restart_secretsd()
    machine.host.systemctl("start", "told")
    time.sleep(_SETTLED_S)
    told = _rotated_s(server, _inside(machine, "run/told.log"))
    busy = pss_mib(processes(machine))
    _configure(machine, server, "1h")
    machine.restart_secretsd()
    what = f"secretsd, {SECRETS} secrets"
    yield Figure(f"{what}, start to the last file", statistics.median(starts), "s", note=f"{_STARTS} starts")
    yield Figure(f"{what}, idle PSS in all", idle, "MiB", note="zygote and helper have ended")
    yield Figure(
        f"{what}, PSS in all while it polls", busy, "MiB", note="conductor, zygote and notify helper"
    )
    yield _rotation_figure(what, told, "refresh_interval 1s, action = signal")


def _configure(machine: Machine, server: OpenBao, interval: str) -> None:
    text = _SOURCE.format(interval=interval, address=server.address)
    machine.host.put("/etc/secretsd/secretsd.toml", text)


def _start_s(machine: Machine) -> float:
    """From `systemctl start` to the last file, with nothing published before."""
    machine.host.systemctl("stop", "secretsd")
    machine.host.sh("rm -rf /run/secretsd/b*")
    runtime = _inside(machine, "run/secretsd")
    began = time.monotonic()
    machine.host.start(["systemctl", "start", "secretsd"]).wait()
    _until(lambda: all((runtime / f"b{number}").is_symlink() for number in range(SECRETS)), "secretsd")
    return time.monotonic() - began


def _inside(machine: Machine, path: str) -> Path:
    return Path(f"/proc/{machine.host.leader}/root/{path}")


# --- both -------------------------------------------------------------------------------------------------


def _rotated_s(server: OpenBao, log: Path) -> list[float]:
    """From a write that the server has taken to the command or the handler, at random moments."""
    spent = []
    for number in range(1, _ROTATIONS + 1):
        time.sleep(1.0 + random.random())
        before = _lines(log)
        _write(server, 0, f"fake-value-{number}")
        written = time.clock_gettime(time.CLOCK_BOOTTIME)
        eventually(lambda before=before: len(_lines(log)) > len(before), "told", timeout_s=_UP_S)  # type: ignore[misc]
        spent.append(float(_lines(log)[-1]) - written)
    return spent


def _rotation_figure(what: str, told: list[float], note: str) -> Figure:
    note = f"{len(told)} rotations, worst {max(told):.2f} s; {note}"
    return Figure(f"{what}, rotation to command, median", statistics.median(told), "s", note=note)


def _lines(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


def _until(holds: Callable[[], bool], who: str) -> None:
    began = time.monotonic()
    while not holds():
        if time.monotonic() > began + _UP_S:
            raise SystemExit(f"{who} does not come to an end")
        time.sleep(0.002)


def _pss_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024


if __name__ == "__main__":
    print(table(measure()))
