"""The push on a real systemd with the installed package: a rotation reaches the bot without a reload."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.canary.spellings import MARK
from tests.lab.push import FakePush
from tests.system.machine import SIGNAL, Machine, eventually, on_bookworm

pytestmark = pytest.mark.system

KEY = f"{MARK}of-the-push"


def configure(machine: Machine, push: FakePush | None) -> None:
    machine.configure()
    if push is not None:
        path = "/etc/secretsd/secretsd.toml"
        machine.host.put(path, machine.host.run(["cat", path]).stdout + push.configuration + "\n")


@pytest.fixture
def push(machine: Machine) -> FakePush:
    """A machine whose daemon has a healthy push, and a running bot."""
    push = FakePush(machine.aws)
    machine.add_bot("bot", f"{KEY}-1", SIGNAL)
    configure(machine, push)
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    eventually(lambda: state(machine)["healthy"], "the push is healthy")
    return push


def state(machine: Machine) -> dict[str, Any]:
    document = json.loads(machine.host.run(["secretsctl", "status", "--json"]).stdout)
    found: dict[str, Any] = document["sources"]["aws"]["push"] or {"healthy": False}
    return found


def listeners(machine: Machine) -> list[str]:
    return machine.host.sh("pgrep -f [p]ush.listener || true").split()


def has_loaded(machine: Machine, number: int) -> bool:
    return f"reload {KEY}-{number}" in machine.seen("bot")


def test_a_rotation_reaches_the_bot_without_any_reload(machine: Machine, push: FakePush) -> None:
    push.put("bot/production", {"API_KEY": f"{KEY}-2"})
    eventually(lambda: has_loaded(machine, 2), "the bot has the new key", timeout_s=8)
    assert machine.status("bot")["next_refresh_s"] > 3000
    (pid,) = listeners(machine)
    status = machine.host.run(["cat", f"/proc/{pid}/status"]).stdout
    rights = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith("Cap")}
    assert {rights[name] for name in ("CapEff", "CapPrm", "CapAmb")} == {"0" * 16}
    _, said = machine.secretsctl("doctor")
    assert "push aws" in said, said
    assert "messages may be received and deleted" in " ".join(said.split())


@on_bookworm
def test_a_listener_that_is_killed_is_replaced_and_the_next_rotation_is_heard(
    machine: Machine, push: FakePush
) -> None:
    (pid,) = listeners(machine)
    machine.kill(int(pid))
    eventually(lambda: listeners(machine) not in ([], [pid]), "another listener runs")
    push.put("bot/production", {"API_KEY": f"{KEY}-2"})
    # What the dead one's connection still takes comes again after 10 s.
    eventually(lambda: has_loaded(machine, 2), "the bot has the new key", timeout_s=25)
    assert state(machine)["restarts"] == 1


@on_bookworm
def test_a_flood_of_garbage_is_counted_and_a_rotation_behind_it_heard(
    machine: Machine, push: FakePush
) -> None:
    push.send(*(f"fake-garbage-{number}" for number in range(300)))
    push.put("bot/production", {"API_KEY": f"{KEY}-2"})
    eventually(lambda: has_loaded(machine, 2), "the bot has the new key", timeout_s=120)
    eventually(lambda: state(machine)["malformed"] == 300, "all garbage is counted", timeout_s=60)
    assert push.waiting() == 0
    assert "fake-garbage" not in machine.host.journal()


@on_bookworm
def test_a_push_that_is_taken_out_by_a_reload_leaves_no_listener(machine: Machine, push: FakePush) -> None:
    configure(machine, None)
    assert machine.reload_secretsd() == 0
    eventually(lambda: listeners(machine) == [], "no listener runs")
    push.put("bot/production", {"API_KEY": f"{KEY}-2"})
    assert machine.reload_secretsd() == 0
    assert has_loaded(machine, 2)


@on_bookworm
def test_a_queue_that_is_gone_is_told_and_bots_are_served_by_polling(
    machine: Machine, push: FakePush
) -> None:
    push.delete_queue()

    def told() -> bool:
        failure = state(machine).get("failure")
        return failure is not None and failure["code"] == "queue-missing"

    eventually(told, "status names the queue", timeout_s=40)
    code, said = machine.secretsctl("doctor")
    assert code == 77, said
    assert "there is no queue" in said
    machine.rotate("bot", f"{KEY}-2")
    assert machine.reload_secretsd() == 0
    assert has_loaded(machine, 2)
