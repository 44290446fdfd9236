"""`secretsctl doctor` on a machine as an operator has it: all well, and each thing broken in turn."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lab import faults
from tests.system.machine import RELOAD, SIGNAL, Machine, on_bookworm

pytestmark = pytest.mark.system


def _examined(machine: Machine, *, user: str | None = None) -> tuple[int, dict[str, dict[str, Any]]]:
    done = machine.host.run(["secretsctl", "doctor", "--json"], user=user, check=False, timeout_s=90)
    document = json.loads(done.stdout)
    assert document["schema"] == 1
    assert done.stderr == ""
    for check in document["checks"]:
        assert check.keys() == {"check", "state", "detail", "fix"}
        assert check["fix"] or check["state"] == "ok", check
    return done.returncode, {check["check"]: check for check in document["checks"]}


def _troubles(checks: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: check["state"] for name, check in checks.items() if check["state"] != "ok"}


def test_a_machine_that_is_well_has_no_line_that_is_not_ok(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1")
    machine.add_bot("hup", "fake-key-1", SIGNAL)
    machine.configure('alert_command = ["/bin/true"]')
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot", "hup")
    code, checks = _examined(machine)
    print(machine.secretsctl("doctor")[1])
    assert (code, _troubles(checks)) == (0, {})
    assert checks.keys() >= {
        *("config", "daemon", "kernel", "memory", "space", "user", "rights", "state", "alerts", "helper"),
        *("credentials aws", "endpoint aws", "clock aws", "secret bot/production", "secret hup/production"),
        *("unit bot.service", "unit hup.service"),
    }
    assert checks["credentials aws"]["detail"] == "found: env"
    assert "fake-key" not in json.dumps(checks)


def test_role_credentials_are_told_from_keys(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1", None)
    machine.host.put("/etc/default/secretsd", f"AWS_ENDPOINT_URL={machine.proxy.url}\n")
    machine.restart_secretsd()
    _, checks = _examined(machine)
    assert checks["credentials aws"]["detail"].startswith("found: iam-role")


@on_bookworm
def test_everything_that_is_broken_is_a_line_with_its_fix(machine: Machine) -> None:
    for name in ("gone", "masked", "cannot", "deaf", "eager"):
        on_change = {"deaf": SIGNAL}.get(name, RELOAD)
        service = {"cannot": "ExecReload=", "eager": "Type=exec\nExecStartPre="}.get(name, "")
        machine.add_bot(name, "fake-key-1", on_change, service=service, arguments="deaf" * (name == "deaf"))
    machine.restart_secretsd()
    machine.host.systemctl("start", "deaf", "eager")
    machine.host.sh(
        "cd /etc/systemd/system; rm gone.service; ln -sf /dev/null masked.service; systemctl daemon-reload"
    )
    machine.host.systemctl("stop", "secretsd-notify.socket", "secretsd-notify.service")
    with machine.proxy.broken(faults.deny("gone/production")):
        code, checks = _examined(machine)
    print(machine.secretsctl("doctor")[1])
    assert code == 78, "the worst: a unit that is not there"
    wanted = {
        "helper": ("fail", "secretsd-notify.socket"),
        "secret gone/production": ("fail", "secretsmanager:GetSecretValue"),
        "unit gone.service": ("fail", "install the unit"),
        "unit masked.service": ("fail", "systemctl unmask"),
        "unit cannot.service": ("fail", "ExecReload="),
        "unit deaf.service": ("fail", "handler for SIGHUP"),
        "unit eager.service": ("warn", "Type=notify"),
        "alerts": ("warn", "alerts.md"),
    }
    assert _troubles(checks) == {name: state for name, (state, _) in wanted.items()}
    for name, (_, fix) in wanted.items():
        assert fix in checks[name]["fix"], name


@on_bookworm
def test_without_a_daemon_the_rest_is_looked_at_and_it_says_how_to_start_it(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1")
    machine.restart_secretsd()
    machine.host.systemctl("stop", "secretsd")
    code, checks = _examined(machine)
    assert code == 75
    assert "secretsd.service is inactive (dead)" in checks["daemon"]["detail"]
    assert checks["daemon"]["fix"].startswith("systemctl start secretsd")
    assert _troubles(checks) == {"daemon": "fail", "sources": "warn"}
    assert checks.keys() >= {"config", "kernel", "memory", "space", "user", "unit bot.service"}

    machine.host.systemctl("start", "secretsd")
    code, checks = _examined(machine, user="bot")
    assert code == 77
    assert checks["daemon"]["fix"] == "sudo secretsctl doctor"

    machine.host.sh("chmod g+w /etc/secretsd/conf.d/bot.toml; chgrp bot /etc/secretsd/conf.d/bot.toml")
    code, checks = _examined(machine)
    assert code == 78
    assert "writable by group or others" in checks["config"]["detail"]
