"""Units that cannot be told, or die of it: published, not loaded, retried, visible, well by themselves."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from tests.lab.faults import Hang
from tests.system.machine import RELOAD, RESTART, SIGNAL, Machine, eventually

pytestmark = pytest.mark.system

_GONE = "systemctl stop {0}; rm /etc/systemd/system/{0}.service; systemctl daemon-reload"
_BREAKS_AT_ITS_START = (
    "mkdir /etc/systemd/system/{0}.service.d; "
    "printf '[Service]\\nExecStartPre=/bin/false\\n' >/etc/systemd/system/{0}.service.d/broken.conf; "
    "systemctl daemon-reload"
)
_MASKED = "systemctl stop {0}; ln -sf /dev/null /etc/systemd/system/{0}.service; systemctl daemon-reload"


@dataclass(frozen=True, slots=True)
class _BadUnit:
    """How it is made bad, and what an operator is told: parts of the message and of the advice."""

    name: str
    message: str
    advice: str
    on_change: str = RELOAD
    service: str = ""
    arguments: str = ""
    damage: str = ""
    key: str = "fake-key-2"


_BAD_UNITS = (
    _BadUnit("gone", "gone.service does not exist", "install the unit", damage=_GONE),
    _BadUnit("masked", "masked.service is masked", "systemctl unmask masked.service", damage=_MASKED),
    _BadUnit("fails", "reload of fails.service failed", "journalctl -u fails.service",
             service="ExecReload=\nExecReload=/bin/false"),
    _BadUnit("cannot", "cannot.service cannot reload", "use restart or signal", service="ExecReload="),
    _BadUnit("deaf", "would kill PID", "give the program a handler for SIGHUP", SIGNAL, arguments="deaf"),
    _BadUnit("dies", "dies.service is not running", "systemctl start dies.service", key="fake-deadly"),
    _BadUnit("restarts", "restarts.service is not running", "systemctl start restarts.service", RESTART,
             damage=_BREAKS_AT_ITS_START),
)  # fmt: skip


def _repair(machine: Machine, bad: _BadUnit) -> None:
    """What the operator does about it; the daemon is not told."""
    if bad.key == "fake-deadly":
        machine.rotate(bad.name, "fake-key-2")
        eventually(lambda: "fake-key-2" in machine.host.sh(f"cat /run/secretsd/{bad.name}/env"), "published")
    machine.host.sh(f"rm -rf /etc/systemd/system/{bad.name}.service.d")
    machine.write_unit(bad.name)
    if bad.name not in ("fails", "cannot"):
        machine.host.systemctl("restart", bad.name)


def test_units_that_cannot_be_told_are_visible_retried_and_recover_by_themselves(machine: Machine) -> None:
    for bad in _BAD_UNITS:
        machine.add_bot(
            bad.name,
            "fake-key-1",
            bad.on_change,
            bundle='refresh_interval = "1s"',
            service=bad.service,
            arguments=bad.arguments,
        )
    machine.configure('refresh_jitter = "0s"')
    machine.restart_secretsd()
    for bad in _BAD_UNITS:
        machine.host.systemctl("start", bad.name)
        machine.host.sh(bad.damage.format(bad.name))
    for bad in _BAD_UNITS:
        machine.rotate(bad.name, bad.key)
    assert machine.reload_secretsd() != 0
    code, said = machine.secretsctl("reload")
    assert code == 75
    for bad in _BAD_UNITS:
        bundle = machine.status(bad.name)
        (unit,) = bundle["units"]
        assert (bundle["state"], unit["state"], bundle["failures"]) == ("published", "failed", [])
        assert bad.message in unit["message"]
        assert bad.advice in unit["advice"]
        assert f"{bad.name}: published, not loaded" in said
        assert bad.key in machine.host.sh(f"cat /run/secretsd/{bad.name}/env")
    assert "not loaded by" in machine.host.show("secretsd", "StatusText")
    assert machine.host.show("deaf", "ActiveState") == "active"
    assert (
        machine.host.show("restarts", "ActiveState") == machine.host.show("dies", "ActiveState") == "failed"
    )

    for bad in _BAD_UNITS:
        _repair(machine, bad)
    began = time.monotonic()
    left = {bad.name for bad in _BAD_UNITS}
    while left:
        left -= {name for name in left if machine.status(name)["state"] == "loaded"}
        assert time.monotonic() - began < 30, f"they are well by themselves: {left}"
    for bad in _BAD_UNITS:
        assert machine.seen(bad.name)[-1].endswith("fake-key-2")
    assert machine.reload_secretsd() == 0


def test_nobody_is_told_before_ready(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1")
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    machine.host.systemctl("stop", "secretsd-notify.socket", "secretsd-notify.service")
    machine.rotate("bot", "fake-key-2")
    assert machine.secretsctl("reload")[0] == 75
    machine.host.systemctl("start", "secretsd-notify.socket")

    machine.proxy.set(Hang())
    machine.host.systemctl("restart", "--no-block", "secretsd")
    eventually(lambda: machine.secretsctl("status", "bot")[0] == 0, "the daemon is there")
    time.sleep(1.0)
    assert machine.host.show("secretsd", "ActiveState") == "activating"
    assert machine.seen("bot") == ["start fake-key-1"]
    machine.proxy.clear()
    eventually(lambda: "reload fake-key-2" in machine.seen("bot"), "it is told after READY")


def test_unit_that_follows_reloads_of_secretsd_does_not_deadlock_its_own_notification(
    machine: Machine,
) -> None:
    machine.add_bot("bot", "fake-key-1")
    unit = machine.host.read("/etc/systemd/system/bot.service")
    tied = "[Unit]\nBindsTo=secretsd.service\nReloadPropagatedFrom=secretsd.service\n"
    machine.host.put("/etc/systemd/system/bot.service", unit.replace("[Unit]\n", tied))
    machine.host.systemctl("daemon-reload")
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    machine.rotate("bot", "fake-key-2")
    began = time.monotonic()
    assert machine.reload_secretsd() == 0
    assert time.monotonic() - began < 5
    assert "reload fake-key-2" in machine.seen("bot")
    assert machine.host.systemctl("list-jobs", "--no-legend").stdout == ""
