"""Whoever touches published files on a real host has not done so for long."""

from __future__ import annotations

import pytest

from tests.lab.faults import UNAVAILABLE
from tests.system.machine import Machine, eventually, on_bookworm

pytestmark = [pytest.mark.system, on_bookworm]

FOUND_WITHIN_S = 2.0
FILE = "/run/secretsd/bot/env"
GOOD = "API_KEY='fake-key-1'\n"

# As root, and as the bot, who may write to its own files.
DAMAGES = {
    "content": f"echo \"API_KEY='fake-evil-1'\" > {FILE}",
    "content, with the old times": f"touch -r {FILE} /run/t && echo evil > {FILE} && touch -r /run/t {FILE}",
    "owner": f"chown root:root {FILE}",
    "mode": f"chmod 644 {FILE}",
    "mode of the directory": "chmod 777 $(readlink -f /run/secretsd/bot)",
    "removal": f"rm {FILE}",
    "removal of the generation": "rm -r $(readlink -f /run/secretsd/bot)",
    "removal of the link": "rm /run/secretsd/bot",
    "the bot's own edit": f"runuser -u bot -- sh -c 'echo evil > {FILE}'",
    "the bot's own mode": f"runuser -u bot -- chmod 666 {FILE}",
}


def is_good(machine: Machine) -> bool:
    done = machine.host.run(["sh", "-c", f"stat -L -c '%a %U' {FILE} && cat {FILE}"], check=False)
    return done.stdout == f"600 bot\n{GOOD}"


def test_every_kind_of_drift_is_undone_within_two_seconds_and_recorded(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1")
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    for number, (kind, damage) in enumerate(DAMAGES.items(), 1):
        machine.host.sh(damage)
        eventually(lambda: is_good(machine), f"{kind} is undone", timeout_s=FOUND_WITHIN_S)
        eventually(lambda n=number: machine.status("bot")["drift"]["count"] == n, f"{kind} is counted")  # type: ignore[misc]
    assert machine.status("bot")["state"] == "loaded"
    assert machine.seen("bot") == ["start fake-key-1"], "the content is the same: nobody was told"
    log = machine.host.sh("journalctl -u secretsd -o cat | grep -c '^published files were altered'")
    assert int(log) == len(DAMAGES)


@pytest.mark.parametrize("kind", ["content, with the old times", "mode", "removal", "removal of the link"])
def test_what_was_done_while_the_daemon_was_stopped_is_undone_at_its_start(
    machine: Machine, kind: str
) -> None:
    machine.add_bot("bot", "fake-key-1")
    machine.restart_secretsd()
    machine.host.systemctl("stop", "secretsd")
    machine.host.sh(DAMAGES[kind])
    assert not is_good(machine)
    with machine.proxy.broken(UNAVAILABLE):
        machine.host.systemctl("start", "secretsd")
        eventually(lambda: is_good(machine), f"{kind} is undone", timeout_s=FOUND_WITHIN_S)
        assert machine.status("bot")["drift"]["count"] == 1
