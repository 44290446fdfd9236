"""secretsctl as it is installed, on each release's own Python: an operator's day, command by command."""

from __future__ import annotations

import json

import pytest

from secretsd.cli.main import every_command
from tests.system.machine import Machine, eventually

pytestmark = pytest.mark.system


def test_an_operators_day(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1")
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    say = machine.secretsctl
    assert say("check-config")[0] == 0
    assert say("status", "--names") == (0, "bot\n")
    eventually(lambda: "1 bundle: 1 loaded" in say("status")[1], "the bot has loaded its bundle")

    machine.rotate("bot", "fake-key-2")
    assert "change  API_KEY" in say("diff", "bot")[1]
    assert "publish  bot as generation 2: its content changed" in say("plan")[1]
    code, told = say("reload", "bot", "--json")
    assert (code, json.loads(told)["code"]) == (0, 0), told
    assert machine.seen("bot")[-1] == "reload fake-key-2"

    code, told = say("rollback", "bot", "--reason", "order entry fails")
    assert code == 0, told
    assert machine.seen("bot")[-1] == "reload fake-key-1"
    assert "loaded, rolled back" in say("status")[1]
    assert "by uid 0: order entry fails" in say("status", "bot")[1]
    states = [line.split()[1] for line in say("history", "bot")[1].splitlines()[1:4]]
    assert states == ["published", "kept", "gone"]

    assert say("resume", "bot")[0] == 0
    assert machine.seen("bot")[-1] == "reload fake-key-2"
    assert say("hold", "bot")[0] == 0
    machine.rotate("bot", "fake-key-3")
    say("reload")
    assert machine.seen("bot")[-1] == "reload fake-key-2"
    assert "waiting in the source: bot/production" in say("status")[1]
    assert say("resume", "bot")[0] == 0
    assert machine.seen("bot")[-1] == "reload fake-key-3"
    assert say("wait", "bot") == (0, "")
    assert say("ack", "bot", "1")[0] == 65


def test_every_command_explains_itself_and_wrong_usage_is_one_line(machine: Machine) -> None:
    for command in every_command():
        code, told = machine.secretsctl(*command.name.split(), "--help")
        assert code == 0, told
        assert told.startswith(f"usage: secretsctl {command.name}")
        assert "\nexit codes:\n   0  " in told
    assert machine.secretsctl("statsu") == (
        64,
        "secretsctl: argument COMMAND: no 'statsu'; did you mean status?: see secretsctl --help\n",
    )
    assert machine.secretsctl("hold") == (
        64,
        "secretsctl hold: the following arguments are required: BUNDLE: see secretsctl hold --help\n",
    )
    assert machine.secretsctl("reload", "--time", "5s")[0] == 64
    code, told = machine.secretsctl()
    assert code == 64
    assert told == machine.secretsctl("--help")[1]
