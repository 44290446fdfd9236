"""Unusual uses of a key, from a unit that signs to the alert command: both sandboxes are between."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.system.machine import Machine, eventually

pytestmark = pytest.mark.system

_EVENTS = "/var/lib/secretsd/events-of-the-test"
_SOCKET = "/run/secretsd-unusual/signer.sock"
_KEY = """
[signer.keys.orders]
type = "ecdsa-p256"
operations = ["sign", "verify", "public-key"]
allow = [{ unit = "trading-bot.service" }]
"""
_SEND = f"import socket; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'{{}}', '{_SOCKET}')"


def _events(machine: Machine) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in machine.host.sh(f"cat {_EVENTS} 2>/dev/null || true").splitlines()
        if line
    ]


def _told(machine: Machine, sentence: str) -> bool:
    return any(sentence in event["message"] for event in _events(machine) if event["event"] == "unusual")


def _as_unit(machine: Machine, unit: str, *command: str) -> int:
    options = ["--property=User=trader", "--wait", "--collect", "--quiet", f"--unit={unit}"]
    return machine.host.run(["systemd-run", *options, *command], check=False, timeout_s=60).returncode


def test_what_the_signer_finds_reaches_the_alert_command_and_nobody_else_can_send_it(
    machine: Machine,
) -> None:
    host = machine.host
    host.put("/usr/local/bin/alert", f"#!/bin/sh\ncat >>{_EVENTS}\n", mode=0o755)
    machine.configure('alert_command = ["/usr/local/bin/alert"]', source='\n[unusual]\nlearning = "0s"\n')
    host.run(["/usr/libexec/secretsd/setup-softhsm"], timeout_s=120)
    host.put("/etc/secretsd/conf.d/orders.toml", _KEY)
    host.sh("useradd --system trader")
    machine.restart_secretsd()
    host.systemctl("restart", "secretsd-signer")
    generate = ["secretsctl", "keys", "generate", "orders"]
    eventually(lambda: host.run(generate, check=False).returncode == 0, "the key is generated")
    eventually(
        lambda: _told(machine, "secretsd-signer: uid 0 has used the key orders"), "an administrator is told"
    )

    signing = ("/bin/sh", "-c", "echo buy | secretsctl sign orders")
    assert _as_unit(machine, "trading-bot", *signing) == 0
    eventually(
        lambda: _told(
            machine, "secretsd-signer: trading-bot.service has used the key orders for the first time"
        ),
        "the unit's first use is told",
    )
    host.systemctl("restart", "secretsd-signer")
    assert _as_unit(machine, "trading-bot", *signing) == 0

    # Whoever listens is away while another unit of the same user tries again and again.
    host.systemctl("stop", "secretsd")
    trying = "for number in $(seq 25); do echo buy | secretsctl sign orders; done"
    _as_unit(machine, "thief", "/bin/sh", "-c", trying)
    metrics = ["curl", "-s", "--unix-socket", "/run/secretsd-signer/metrics.sock", "http://localhost/metrics"]
    eventually(
        lambda: 'secretsd_unusual_access_total{kind="refusals"} 1.0' in host.run(metrics).stdout,
        "the signer has counted it",
    )
    host.systemctl("start", "secretsd")
    eventually(
        lambda: _told(machine, "secretsd-signer: thief.service was refused 25 times in a row"),
        "it is told once the refresher is back",
        timeout_s=40.0,
    )
    sentences = " ".join(event["message"] for event in _events(machine) if event["event"] == "unusual")
    assert sentences.count("trading-bot.service") == 1
    printed = host.run(["secretsctl", "log", "--action", "unusual"]).stdout
    assert "who=thief.service" in printed
    assert "(refusals)" in printed

    directory = "stat -c '%a %U %G' /run/secretsd-unusual"
    assert host.sh(directory) == "710 secretsd secretsd-signer\n"
    host.systemctl("reload", "secretsd")
    assert host.sh(directory) == "710 secretsd secretsd-signer\n", (
        "systemd took it back, and we gave it again"
    )
    host.put("/etc/secretsd/conf.d/bad.toml", "[bad]\n")
    assert machine.reload_secretsd() != 0
    assert host.sh(directory) == "710 secretsd secretsd-signer\n", "a refused reload, too"
    host.run(["rm", "/etc/secretsd/conf.d/bad.toml"])
    send = ["/usr/bin/python3", "-c", _SEND]
    assert host.run(send, user="secretsd-signer", check=False).returncode == 0
    refused = host.run(send, user="trader", check=False)
    assert "PermissionError" in refused.stderr
    pid = host.show("secretsd-signer", "MainPID")
    assert host.sh(f"ls -A /proc/{pid}/root/run/secretsd") == "", "the secrets' directory is hidden from it"
