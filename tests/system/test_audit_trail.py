"""The installed daemon's trail: who may read it, whose orders are in it, and what a full disk stops."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.system.machine import RELOAD, Machine, eventually, on_bookworm

pytestmark = pytest.mark.system

_FILE = "/var/lib/secretsd/audit/refresher.jsonl"
_NOBODY = 65534
_BY_A_UNIT = "systemd-run --wait --quiet --unit=fake-operator secretsctl reload bot"


def records(machine: Machine, *words: str) -> list[dict[str, Any]]:
    text = machine.host.run(["secretsctl", "log", "--json", *words], user="auditor").stdout
    return [json.loads(line) for line in text.splitlines()]


def is_refused(said: tuple[int, str]) -> bool:
    return said[0] == 74 and said[1].startswith("secretsctl: the audit log cannot be written")


@on_bookworm
def test_auditors_read_the_trail_find_a_unit_s_order_in_it_and_a_full_disk_stops_orders_alone(
    machine: Machine,
) -> None:
    host = machine.host
    machine.add_bot("bot", "fake-key-1", RELOAD)
    machine.restart_secretsd()
    host.systemctl("start", "bot")
    host.sh("useradd --system --groups secretsd-audit auditor")
    assert host.sh(f"stat -c '%a %U %G' {_FILE}") == "640 secretsd secretsd-audit\n"
    assert host.run(["secretsctl", "log"], user=_NOBODY, check=False).returncode == 77
    assert host.run(["cat", _FILE], user=_NOBODY, check=False).returncode != 0
    assert host.run(["ls", "/var/lib/secretsd"], user="auditor", check=False).returncode != 0

    host.sh(_BY_A_UNIT)
    before, after = records(machine, "--action", "reload")
    assert (before["actor"]["unit"], before["actor"]["uid"]) == ("fake-operator.service", 0)
    assert (before["phase"], after["phase"], after["result"]) == ("intent", "outcome", "ok")
    machine.rotate("bot", "fake-key-2")
    assert machine.secretsctl("reload", "bot")[0] == 0
    assert [each["outcome"] for each in records(machine, "bot", "--action", "notify")][-1] == "acted"
    assert "fake-key" not in host.read(_FILE)
    host.run(["secretsctl", "log", "--verify"], user="auditor")

    time.sleep(
        2.5
    )  # after a record it is looked at a second later; from then on it is heard, in the sandbox too
    host.sh(f"rm {_FILE}")
    eventually(lambda: host.run(["test", "-e", _FILE], check=False).returncode == 0, "it is back")
    assert "is not watched" not in host.journal("secretsd")
    host.run(["secretsctl", "log", "--verify"], user="auditor")

    # A disk of its own, without room.
    host.sh("systemctl stop secretsd && mount -t tmpfs -o size=1M,mode=0711 full /var/lib/secretsd")
    host.sh("chown secretsd: /var/lib/secretsd && systemctl start secretsd")
    host.sh("head -c 2M /dev/zero > /var/lib/secretsd/fill || true")
    # The last page of the file still has room for a few.
    eventually(lambda: is_refused(machine.secretsctl("hold", "bot")), "an order is refused")
    machine.rotate("bot", "fake-key-3")
    machine.restart_secretsd()
    eventually(lambda: "fake-key-3" in host.read("/run/secretsd/bot/env"), "the new key is published")
    assert "audit log cannot be written" in host.run(["secretsctl", "status"]).stdout
    host.sh("rm /var/lib/secretsd/fill")
    eventually(lambda: machine.secretsctl("hold", "bot")[0] == 0, "there is room again")
    host.run(["secretsctl", "log", "--verify"], user="auditor")
