"""kill -9 of every process at every step between publish and notify: the bot still learns, files stay."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests.lab.faults import Hang
from tests.lab.processes import end
from tests.system.machine import RELOAD, Machine, eventually, on_bookworm

pytestmark = pytest.mark.system

# Names, inodes and times of everything published, and which generation is shown.
_FILES = "cd /run/secretsd && find . -type f -name env -printf '%p %i %C@\\n' | sort; readlink bot"
_SLOW_RELOAD = "ExecReload=\nExecReload=/bin/sh -c 'sleep 1; kill -HUP $MAINPID'"


def _with_running_bot(machine: Machine, on_change: str = RELOAD, **more: str) -> None:
    machine.drop_in("secretsd", "RestartSec=50ms\nWatchdogSec=2")
    machine.add_bot("bot", "fake-key-1", on_change, **more)
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    eventually(lambda: _is_loaded(machine), "it is at rest")


def _told(machine: Machine, number: int) -> bool:
    return f"reload fake-key-{number}" in machine.seen("bot")


def _is_loaded(machine: Machine) -> bool:
    """Whether the bot runs on what is published, and the journal knows it: all is quiet then."""
    done = machine.host.run(["secretsctl", "status", "bot", "--json"], check=False)
    if done.returncode != 0:
        return False  # the daemon is starting
    entry = json.loads(machine.host.read("/var/lib/secretsd/journal.json"))["bundles"]["bot"]
    is_written = entry["loaded"].get("bot.service") == entry["generation"]
    return bool(is_written and json.loads(done.stdout)["bundles"]["bot"]["state"] == "loaded")


def _learns(machine: Machine, number: int) -> None:
    eventually(lambda: _told(machine, number), f"the bot has fake-key-{number}")
    eventually(lambda: _is_loaded(machine), f"fake-key-{number} counts as loaded")


def _inject(machine: Machine, pid: int, call: str, what: str) -> subprocess.Popen[bytes]:
    """strace on `pid`, its threads and children; returns when it is attached."""
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:{what}"]
    strace = machine.host.start(["strace", "-f", "-qq", "-o", "/dev/null", *inject, "-p", str(pid)])
    traced = f"grep -q 'TracerPid:.*[1-9]' /proc/{pid}/status && echo yes"
    eventually(lambda: machine.host.sh(f"{traced} || true"), "strace is attached")
    return strace


# The conductor writes a generation's number into its journal before it is shown (1), and that the unit has
# loaded it afterwards (2).
@on_bookworm
@pytest.mark.parametrize("occurrence", [1, 2])
def test_conductor_killed_at_each_step_of_its_journal_still_tells_the_bot(
    machine: Machine, occurrence: int
) -> None:
    _with_running_bot(machine)
    for number, call in enumerate(("fdatasync", "rename", "fsync"), start=2):
        daemon = machine.main_pid("secretsd")
        strace = _inject(machine, daemon, call, f"signal=SIGKILL:when={occurrence}")
        machine.rotate("bot", f"fake-key-{number}")
        machine.reload_secretsd()
        strace.wait(10)
        _learns(machine, number)
        assert machine.main_pid("secretsd") != daemon, "it was killed"


@on_bookworm
def test_conductor_killed_while_the_helper_is_out_of_reach_and_while_it_confirms(machine: Machine) -> None:
    _with_running_bot(machine, 'action = "reload"\nconfirm = "1s"')
    machine.host.systemctl("stop", "secretsd-notify.socket", "secretsd-notify.service")
    machine.rotate("bot", "fake-key-2")
    assert machine.secretsctl("reload", "--timeout", "1s")[0] == 75
    machine.kill(machine.main_pid("secretsd"))
    machine.host.systemctl("start", "secretsd-notify.socket")
    _learns(machine, 2)

    machine.rotate("bot", "fake-key-3")
    machine.host.start(["secretsctl", "reload"])
    eventually(lambda: machine.status("bot")["units"][0]["state"] == "confirming", "it confirms")
    machine.kill(machine.main_pid("secretsd"))
    _learns(machine, 3)


# A worker renames the generation (1), the copy (2) and the link (3), which is the swap; then it removes the
# generation before last. What was shown is published, whether the worker could say so or not.
@on_bookworm
def test_worker_killed_right_before_and_right_after_its_swap(machine: Machine) -> None:
    _with_running_bot(machine)
    steps = (("renameat", 1, 74), ("renameat", 3, 74), ("unlinkat", 1, 0))
    for number, (call, occurrence, code) in enumerate(steps, start=2):
        (zygote,) = machine.children(machine.main_pid("secretsd"))
        strace = _inject(machine, zygote, call, f"signal=SIGKILL:when={occurrence}")
        machine.rotate("bot", f"fake-key-{number}")
        assert machine.secretsctl("reload")[0] == code
        end(strace)
        _learns(machine, number)


@on_bookworm
def test_worker_and_zygote_killed_while_aws_hangs(machine: Machine) -> None:
    _with_running_bot(machine)
    for number in (2, 3):
        machine.rotate("bot", f"fake-key-{number}")
        machine.proxy.forget_calls()
        machine.proxy.set(Hang())
        machine.host.start(["secretsctl", "reload"])
        eventually(lambda: machine.proxy.calls, "the worker waits for AWS")
        (zygote,) = machine.children(machine.main_pid("secretsd"))
        victims = machine.children(zygote) if number == 2 else [zygote]
        assert len(victims) == 1
        machine.kill(*victims)
        machine.proxy.clear()
        _learns(machine, number)


@on_bookworm
def test_helper_killed_in_the_middle_of_a_job_and_before_it_confirms(machine: Machine) -> None:
    _with_running_bot(machine, 'action = "reload"\nconfirm = "500ms"', service=_SLOW_RELOAD)
    for number, moment in enumerate(("pending", "confirming"), start=2):
        machine.rotate("bot", f"fake-key-{number}")
        machine.host.start(["secretsctl", "reload"])
        if moment == "pending":
            eventually(lambda: machine.host.show("bot", "ActiveState") == "reloading", "the job runs")
        else:
            eventually(lambda: machine.status("bot")["units"][0]["state"] == "confirming", "it confirms")
        helper = machine.main_pid("secretsd-notify")
        assert helper
        machine.kill(helper)
        _learns(machine, number)


def test_files_outlive_the_daemons_death_restart_and_upgrade_and_nobody_is_told_twice(
    machine: Machine, newer_deb: Path
) -> None:
    _with_running_bot(machine)
    before = machine.host.sh(_FILES)
    assert "env" in before
    leftovers = (
        "/run/secretsd/.new-{0}",
        "/run/secretsd/.generations/bot/.new-{0}",
        "/run/secretsd/.copies/bot/7",
    )
    for path in leftovers:
        planted = path.format("0123456789abcdef")
        machine.host.sh(f"install -d -o secretsd {planted} && install -o bot /dev/null {planted}/env")

    machine.kill(machine.main_pid("secretsd"))
    eventually(lambda: _is_loaded(machine), "back after kill -9")
    assert machine.host.sh(_FILES) == before
    machine.restart_secretsd()
    assert machine.host.sh(_FILES) == before
    machine.host.install(newer_deb)
    eventually(lambda: _is_loaded(machine), "back after the upgrade")
    assert machine.secretsctl("--version") == (0, "secretsctl 0.1.0\n")
    assert machine.host.show("secretsd", "NRestarts") == "0", "it was started anew, not restarted by a crash"
    assert machine.host.sh("dpkg-query -W -f '${Version}' secretsd") == "0.1.1"
    assert machine.host.sh(_FILES) == before
    assert machine.host.show("bot", "ActiveState") == "active"
    assert machine.seen("bot") == ["start fake-key-1"]

    machine.rotate("bot", "fake-key-2")
    assert machine.reload_secretsd() == 0
    assert machine.seen("bot") == ["start fake-key-1", "reload fake-key-2"]


@on_bookworm
def test_stopped_daemon_is_brought_back_by_the_watchdog(machine: Machine) -> None:
    _with_running_bot(machine)
    daemon = machine.main_pid("secretsd")
    machine.host.run(["kill", "-STOP", str(daemon)])
    machine.rotate("bot", "fake-key-2")
    eventually(lambda: machine.main_pid("secretsd") not in (0, daemon), "systemd has started another")
    _learns(machine, 2)
    assert "watchdog" in machine.host.journal("secretsd").lower()


@on_bookworm
def test_burst_of_reloads_is_few_refreshes_and_one_notification(machine: Machine) -> None:
    _with_running_bot(machine)
    machine.rotate("bot", "fake-key-2")
    machine.proxy.forget_calls()
    burst = "for n in 1 2 3 4 5 6 7 8 9 10; do secretsctl reload >/dev/null || echo failed & done; wait"
    assert machine.host.sh(burst) == ""
    assert machine.seen("bot") == ["start fake-key-1", "reload fake-key-2"]
    assert sum(machine.proxy.counts.values()) < 10


@on_bookworm
def test_stop_while_a_reload_runs_is_quick_and_ends_the_reload(machine: Machine) -> None:
    _with_running_bot(machine)
    machine.proxy.forget_calls()
    machine.proxy.set(Hang())
    reload = machine.host.start(["secretsctl", "reload"])
    eventually(lambda: machine.proxy.calls, "the worker waits for AWS")
    began = time.monotonic()
    machine.host.systemctl("stop", "secretsd")
    assert time.monotonic() - began < 3
    assert machine.host.show("secretsd", "Result") == "success"
    assert reload.wait(5) in (74, 75), "whichever ends first, the worker or the daemon"
    assert machine.secretsctl("wait", "bot")[0] == 0, "bots start without the daemon"
    assert machine.host.sh("pgrep -u secretsd || true") == "", "no zygote or worker is left"
