"""The installed package with the Parameter Store: a label that moves, and calls counted over a restart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.system.machine import Machine, on_bookworm

pytestmark = pytest.mark.system

_SOURCE = """
[daemon]
refresh_interval = "1h"
[sources.ssm]
type = "aws-ssm"
region = "us-east-1"
"""
_BUNDLE = """
[bundles.bot]
owner = "bot"
[[bundles.bot.secrets]]
source = "ssm"
id = "/bot/key"
label = "live"
variable = "API_KEY"
[[bundles.bot.outputs]]
path = "env"
format = "env"
[[bundles.bot.on_change]]
unit = "bot.service"
action = "reload"
confirm = "200ms"
"""


@pytest.fixture
def store(machine: Machine) -> Any:
    """A client of the store that the machine's only source reads."""
    machine.add_bot("bot", None)
    machine.host.put("/etc/secretsd/secretsd.toml", _SOURCE)
    machine.host.put("/etc/secretsd/conf.d/bot.toml", _BUNDLE)
    return machine.aws.client("ssm")


def show(store: Any, value: str) -> None:
    """Makes a version of the parameter, and moves the label onto it."""
    version = store.put_parameter(Name="/bot/key", Value=value, Type="SecureString", Overwrite=True)[
        "Version"
    ]
    store.label_parameter_version(Name="/bot/key", ParameterVersion=version, Labels=["live"])


@on_bookworm
def test_a_label_that_moves_reaches_the_bot_and_calls_are_counted_over_a_restart(
    machine: Machine, store: Any
) -> None:
    show(store, "fake-key-1")
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    assert machine.seen("bot") == ["start fake-key-1"]

    store.put_parameter(Name="/bot/key", Value="fake-key-x", Type="SecureString", Overwrite=True)
    assert machine.reload_secretsd() == 0
    assert machine.seen("bot") == ["start fake-key-1"], "a version without the label is not taken"
    show(store, "fake-key-3")
    assert machine.reload_secretsd() == 0
    assert machine.seen("bot")[-1] == "reload fake-key-3"
    assert machine.status("bot")["secrets"][0]["version_id"] == "3"

    store.delete_parameter(Name="/bot/key")
    code, said = machine.secretsctl("reload")
    assert code == 77, said
    (failure,) = machine.status("bot")["failures"]
    assert (failure["failure_class"], failure["code"]) == ("refusal", "secret-missing")

    before = calls(machine)
    machine.restart_secretsd()
    assert calls(machine) > before >= 4
    assert "GetParameters" in machine.host.sh("cat /var/lib/secretsd/calls.json")


def calls(machine: Machine) -> int:
    """Of today, as `secretsctl cost` has them."""
    document = json.loads(machine.host.run(["secretsctl", "cost", "--json"]).stdout)
    return int(document["sources"]["ssm"]["calls_today"]["GetParameters"])
