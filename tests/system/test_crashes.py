"""kill -9 of every process at every step between publish and notify: the bot still learns, files stay."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.lab.faults import Hang
from tests.system.machine import RELOAD, Machine, eventually, on_bookworm

pytestmark = pytest.mark.system

_FILES = "cd /run/secretsd && find . -type f -name env -printf '%p %i %C@\\n'; readlink bot"
_SLOW_RELOAD = "ExecReload=\nExecReload=/bin/sh -c 'sleep 1; kill -HUP $MAINPID'"


def _with_running_bot(machine: Machine, on_change: str = RELOAD, **more: str) -> None:
    machine.drop_in("secretsd", "RestartSec=50ms")
    machine.add_bot("bot", "fake-key-1", on_change, **more)
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")


def _is_loaded(machine: Machine) -> bool:
    code, _ = machine.secretsctl("status", "bot")
    return code == 0 and machine.status("bot")["state"] == "loaded"


def _kill_at(machine: Machine, pid: int, call: str, occurrence: int) -> subprocess.Popen[bytes]:
    """SIGKILL for `pid`, or for whichever of its threads or children gets there, as it enters that call."""
    inject = f"inject={call}:signal=SIGKILL:when={occurrence}"
    strace = machine.host.start(
        ["strace", "-f", "-qq", "-o", "/run/strace.log", "-e", f"trace={call}", "-e", inject, "-p", str(pid)]
    )
    eventually(
        lambda: machine.host.sh(f"grep TracerPid /proc/{pid}/status").split()[1] != "0", "strace is attached"
    )
    return strace


# What the conductor does to its journal: writes the generation's number before it shows it (1), and that
# the unit has loaded it (2).
@on_bookworm
def test_conductor_killed_before_and_after_each_journal_entry_still_tells_the_bot(machine: Machine) -> None:
    _with_running_bot(machine)
    number = 1
    for occurrence in (1, 2):
        for call in ("fdatasync", "rename", "fsync"):
            number += 1
            daemon = machine.main_pid("secretsd")
            strace = _kill_at(machine, daemon, call, occurrence)
            machine.rotate("bot", f"fake-key-{number}")
            machine.host.start(["systemctl", "reload", "secretsd"])
            strace.wait(10)
            eventually(lambda: f"reload fake-key-{number}" in machine.seen("bot"), f"told after {call}")
            eventually(lambda: _is_loaded(machine), f"loaded after {call}#{occurrence}")
            assert machine.main_pid("secretsd") != daemon, "the daemon was killed"
    keys = [line.split("-")[-1] for line in machine.seen("bot")]
    assert sorted(set(keys), key=int) == sorted(keys, key=int)[: 1] + [str(n) for n in range(2, number + 1)]


# A worker renames the generation (1), the copy (2) and the link (3), then removes the generation before last.
@on_bookworm
@pytest.mark.parametrize(("call", "occurrence"), [("renameat", 3), ("unlinkat", 1)])
def test_worker_killed_around_its_swap_still_tells_the_bot_while_aws_is_down(
    machine: Machine, call: str, occurrence: int
) -> None:
    _with_running_bot(machine)
    for number in (2, 3):
        machine.rotate("bot", f"fake-key-{number}")
        assert machine.reload_secretsd() == 0
    (zygote,) = machine.children(machine.main_pid("secretsd"))
    strace = _kill_at(machine, zygote, call, occurrence)
    machine.rotate("bot", "fake-key-4")
    machine.reload_secretsd()
    strace.kill()
    print(machine.host.sh("cat /run/strace.log"))
    print(machine.status("bot"), machine.seen("bot"))
