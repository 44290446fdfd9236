"""Telling that has to wait, on a real systemd: windows, before, the limit on restarts."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.system.machine import RELOAD, RESTART, Machine, eventually, on_bookworm

pytestmark = pytest.mark.system

_FLAT = "/usr/local/bin/is-flat"
_BEFORE = f'before = ["{_FLAT}", "--bot", "b $HOME %n", ""]\nbefore_timeout = "2s"\nbefore_alarm = "1s"'
# Says no until /run/bots/flat is there, and writes down who it is and what it can reach.
_IS_FLAT = """#!/bin/sh
{
    printf '%s|' "$@"
    echo
    id -un
    readlink /proc/self/ns/net
    echo "nnp $(sed -n 's/^NoNewPrivs:.//p' /proc/self/status)"
    wc -c </run/secretsd/$(id -un)/env
} >/run/bots/asked
echo "is-flat was asked"
[ ! -e /run/bots/hang ] || { trap '' TERM; echo $$ >/run/bots/hung; sleep 600; }
[ -e /run/bots/flat ]
"""


def _window(begins_in: timedelta) -> str:
    """A window of an hour from then on, in UTC."""
    start = datetime.now(UTC) + begins_in
    return f'windows = ["{start:%H:%M}-{start + timedelta(hours=1):%H:%M}"]'


_CLOSED, _OPEN = timedelta(hours=2), timedelta(minutes=-30)


def _gated(machine: Machine, gates: str, on_change: str = RELOAD) -> None:
    machine.host.put(_FLAT, _IS_FLAT)
    machine.host.sh(f"chmod 755 {_FLAT}")
    machine.add_bot("bot", "fake-key-1", f"{on_change}\n{gates}")
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    eventually(lambda: machine.status("bot")["state"] == "loaded", "the bot has started from its files")


def _unit(machine: Machine) -> str:
    (unit,) = machine.status("bot")["units"]
    return str(unit["state"])


def test_before_says_no_then_yes_as_the_owner_with_the_network(machine: Machine) -> None:
    _gated(machine, _BEFORE)
    machine.rotate("bot", "fake-key-2")
    began = time.monotonic()
    code, said = machine.secretsctl("reload", "bot")
    assert time.monotonic() - began < 10, "it does not wait for the bot to be flat"
    assert code == 75
    assert "is-flat says no: it exited with 1" in said
    assert machine.reload_secretsd() != 0
    assert "fake-key-2" in machine.host.sh("cat /run/secretsd/bot/env"), "publishing is not delayed"
    bundle = machine.status("bot")
    assert (bundle["state"], _unit(machine)) == ("published", "waiting for before")
    arguments, user, network, privileges, size = machine.host.sh("cat /run/bots/asked").splitlines()
    assert arguments == "--bot|b $HOME %n||"
    assert (user, privileges) == ("bot", "nnp 1")
    assert network == machine.host.sh("readlink /proc/1/ns/net").strip(), "not the helper's empty network"
    assert int(size) > 0, "it can read the bundle, which is hidden from the helper"
    journal = machine.host.journal("secretsd-before:bot:bot.service")
    assert "is-flat was asked" in journal

    time.sleep(1.0)
    machine.secretsctl("reload", "bot")
    unit = machine.status("bot")["units"][0]
    assert unit["overdue"]
    assert "before_alarm" in unit["message"]
    assert machine.host.journal("secretsd").count("unit is kept from loading the bundle") == 1
    eventually(lambda: "bot.service" in machine.host.show("secretsd", "StatusText"), "the status line")
    assert machine.seen("bot") == ["start fake-key-1"]

    machine.host.sh("touch /run/bots/flat")
    assert machine.secretsctl("wait", "bot")[0] == 0  # or it would be asked again within a minute
    eventually(lambda: "reload fake-key-2" in machine.seen("bot"), "it is asked again")
    eventually(lambda: machine.status("bot")["state"] == "loaded", "loaded")
    assert not machine.status("bot")["units"][0]["overdue"]
    assert machine.host.systemctl("--failed", "--no-legend").stdout == ""


@on_bookworm
def test_before_that_hangs_is_killed_and_says_no(machine: Machine) -> None:
    _gated(machine, _BEFORE)
    machine.host.sh("touch /run/bots/hang")
    machine.rotate("bot", "fake-key-2")
    began = time.monotonic()
    code, said = machine.secretsctl("reload", "bot")
    assert code == 75
    assert 2 <= time.monotonic() - began < 12
    assert "did not end within 2 s (before_timeout), and was ended" in said
    hung = machine.host.sh("cat /run/bots/hung").strip()
    assert machine.host.run(["kill", "-0", hung], check=False).returncode != 0
    machine.host.sh("rm /run/bots/hang; touch /run/bots/flat")
    assert machine.secretsctl("reload", "bot") == (0, "up to date and loaded: 1 of 1 bundles\n")


@on_bookworm
def test_before_is_asked_while_d_bus_is_down(machine: Machine) -> None:
    _gated(machine, _BEFORE)
    machine.host.sh("touch /run/bots/flat; systemctl stop dbus.socket dbus.service")
    machine.rotate("bot", "fake-key-2")
    assert machine.secretsctl("reload", "bot")[0] == 0
    assert "reload fake-key-2" in machine.seen("bot")


@on_bookworm
def test_before_may_lie_where_the_helper_cannot_look(machine: Machine) -> None:
    machine.host.sh("mkdir -p -m 755 /home/tools")
    machine.host.put("/home/tools/flat", "#!/bin/sh\nexit 0\n")
    machine.host.sh("chmod 755 /home/tools/flat")
    _gated(machine, 'before = ["/home/tools/flat"]')
    machine.rotate("bot", "fake-key-2")
    assert machine.reload_secretsd() == 0
    assert machine.seen("bot")[-1] == "reload fake-key-2"


@on_bookworm
def test_before_that_is_not_there_is_told_by_check_config_and_by_status(machine: Machine) -> None:
    _gated(machine, _BEFORE)
    machine.host.sh(f"rm {_FLAT}")
    code, said = machine.secretsctl("check-config")
    assert code == 78
    assert "'before' names a program that does not exist" in said
    machine.rotate("bot", "fake-key-2")
    machine.restart_secretsd()
    eventually(lambda: _unit(machine) == "waiting for before", "it is asked")
    eventually(lambda: "is-flat" in machine.status("bot")["units"][0]["message"], "and cannot be run")


_ASK = """
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect("/run/secretsd-notify.sock")
peer.sendall(sys.argv[1].encode() + b"\\n")
print(peer.makefile().readline())
"""


@on_bookworm
def test_daemon_in_the_wrong_hands_can_have_nothing_run_but_what_root_has_configured(
    machine: Machine,
) -> None:
    _gated(machine, _BEFORE)
    machine.add_bot("plain", "fake-key-1")
    machine.host.put("/usr/local/lib/ask.py", _ASK)

    def ask(bundle: str = "bot", unit: str = "bot.service", **more: object) -> str:
        request = {"operation": "before", "bundle": bundle, "unit": unit, "generation": 1, **more}
        become = ["--reuid=secretsd", "--regid=secretsd", "--clear-groups"]
        command = ["setpriv", *become, "python3", "-I", "/usr/local/lib/ask.py", json.dumps(request)]
        return machine.host.run(command).stdout

    assert '"usage"' in ask(before=["/bin/touch", "/run/bots/planted"])
    assert '"usage"' in ask(owner="root")
    assert '"not-configured"' in ask(unit="dbus.service")
    assert '"not-configured"' in ask("plain", "plain.service")
    assert machine.host.sh("ls /run/bots | grep -v '[.]log$' || true") == ""
    path = "/etc/secretsd/conf.d/bot.toml"
    text = machine.host.read(path)
    for owner in ("root", "secretsd"):
        machine.host.put(path, text.replace('owner = "bot"', f'owner = "{owner}"'))
        assert '"not-configured"' in ask()
    assert machine.host.sh("ls /run/bots | grep -v '[.]log$' || true") == ""
    machine.host.put(path, text)
    assert '"unwilling"' in ask()
    assert "asked" in machine.host.sh("ls /run/bots"), "what is configured is run"


@on_bookworm
def test_closed_window_delays_telling_and_not_publishing_until_it_opens(machine: Machine) -> None:
    _gated(machine, _window(_CLOSED), RESTART)
    machine.rotate("bot", "fake-key-2")
    began = time.monotonic()
    code, said = machine.secretsctl("reload")
    assert code == 75
    assert time.monotonic() - began < 10, "it does not hang until its timeout"
    assert "waits for its window, which opens" in said
    assert "fake-key-2" in machine.host.sh("cat /run/secretsd/bot/env")
    unit = machine.status("bot")["units"][0]
    assert unit["state"] == "waiting for window"
    assert datetime.fromisoformat(unit["until"]) > datetime.now(UTC) + timedelta(minutes=100)
    assert machine.seen("bot") == ["start fake-key-1"]

    # A newer one while it waits: only the newest is told.
    machine.rotate("bot", "fake-key-3")
    assert machine.secretsctl("reload")[0] == 75
    path = "/etc/secretsd/conf.d/bot.toml"
    machine.host.put(path, machine.host.read(path).replace(_window(_CLOSED), _window(_OPEN)))
    assert machine.secretsctl("reload") == (0, "up to date and loaded: 1 of 1 bundles\n")
    assert machine.seen("bot") == ["start fake-key-1", "start fake-key-3"]


@on_bookworm
def test_time_zones_that_the_host_does_not_have_are_told_and_touch_nothing(machine: Machine) -> None:
    _gated(machine, 'windows = ["00:00-24:00 Europe/Berlin"]')
    machine.rotate("bot", "fake-key-2")
    assert machine.secretsctl("reload")[0] == 0
    machine.host.sh("mv /usr/share/zoneinfo /usr/share/no-zoneinfo")  # a Debian without tzdata
    code, said = machine.secretsctl("check-config")
    assert code == 78
    assert "apt install tzdata" in said
    machine.restart_secretsd()
    machine.rotate("bot", "fake-key-3")
    machine.secretsctl("wait", "bot", "--max-age", "1ms", "--timeout", "5s")
    eventually(lambda: _unit(machine) == "waiting for window", "it is not touched at an unknown hour")
    assert machine.status("bot")["units"][0]["until"] is None
    machine.host.sh("mv /usr/share/no-zoneinfo /usr/share/zoneinfo")
    assert machine.secretsctl("reload")[0] == 0
    assert machine.seen("bot")[-1] == "reload fake-key-3"


@on_bookworm
def test_unit_that_is_restarted_by_hand_while_it_waits_has_loaded(machine: Machine) -> None:
    _gated(machine, f"{_window(_CLOSED)}\n{_BEFORE}")
    machine.rotate("bot", "fake-key-2")
    assert machine.secretsctl("reload")[0] == 75
    machine.host.systemctl("restart", "bot")
    eventually(lambda: machine.status("bot")["state"] == "loaded", "its start counts", timeout_s=8)
    assert machine.seen("bot") == ["start fake-key-1", "start fake-key-2"]
    assert not machine.host.sh("ls /run/bots").count("asked"), "nobody was asked in a closed window"
    assert machine.secretsctl("reload")[0] == 0


@on_bookworm
def test_limit_on_restarts_counts_over_restarts_of_the_daemon(machine: Machine) -> None:
    _gated(machine, "max_restarts_per_hour = 2", RESTART)
    for number in (2, 3):
        machine.rotate("bot", f"fake-key-{number}")
        assert machine.secretsctl("reload")[0] == 0
    machine.restart_secretsd()
    machine.rotate("bot", "fake-key-4")
    code, said = machine.secretsctl("reload")
    assert code == 75
    assert "max_restarts_per_hour = 2" in said
    unit = machine.status("bot")["units"][0]
    assert unit["state"] == "waiting for restart limit"
    assert datetime.fromisoformat(unit["until"]) > datetime.now(UTC) + timedelta(minutes=50)
    assert machine.seen("bot")[1:] == ["start fake-key-2", "start fake-key-3"]
