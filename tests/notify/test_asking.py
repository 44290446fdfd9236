from __future__ import annotations

import os
import pwd
import time

import pytest

from secretsd.model import UnitReport
from secretsd.notify import asking
from secretsd.notify.asking import must_be_ordinary, transient_unit
from secretsd.notify.configured import Before, NotConfiguredError
from secretsd.notify.protocol import BeforeRequest
from secretsd.notify.units import Systemd
from tests.notify.fake_systemd import UNIT, FakeSystemd, shown

REQUEST = BeforeRequest("trading-bot", UNIT, 7)
BEFORE = Before("nobody", ("/usr/local/bin/is-flat", "--bot", "$x ${y}"), 2.0)
TRANSIENT = f"secretsd-before:trading-bot:{UNIT}"


def ask(systemd: FakeSystemd) -> UnitReport:
    client = Systemd(systemd.systemctl, systemd.systemd_run)
    return asking.ask(REQUEST, BEFORE, client, daemon_uid=4242)


def test_a_program_that_exits_with_0_agrees(systemd: FakeSystemd) -> None:
    assert ask(systemd).outcome == "willing"


def test_it_is_run_by_systemd_with_limits_and_without_rights(systemd: FakeSystemd) -> None:
    ask(systemd)
    words = systemd.run
    options, command = words[: words.index("--")], words[words.index("--") + 1 :]
    assert command == ["/usr/local/bin/is-flat", "--bot", "$$x $${y}"], "systemd makes $$ a $"
    assert {
        "--uid=nobody",
        f"--unit={TRANSIENT}",
        "--service-type=oneshot",
        "--property=TimeoutStartSec=2s",
        "--property=NoNewPrivileges=yes",
        "--property=LimitCORE=0",
    } <= set(options)
    assert "--wait" not in options, "it would need D-Bus"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Result": "exit-code", "ExecMainCode": 1, "ExecMainStatus": 3}, "says no: it exited with 3"),
        ({"Result": "timeout", "ExecMainCode": 2, "ExecMainStatus": 9}, "did not end within 2 s"),
        (
            {"Result": "timeout", "ExecMainCode": 1, "ExecMainStatus": 0},
            "exited with 0, but what it has left",
        ),
        ({"Result": "signal", "ExecMainCode": 2, "ExecMainStatus": 11}, "says no: signal, signal 11"),
        ({"Result": "exit-code", "ExecMainCode": 1, "ExecMainStatus": 203}, "could not be started"),
    ],
)
def test_a_program_that_does_not_agree_is_told_with_its_end(
    systemd: FakeSystemd, changes: dict[str, object], message: str
) -> None:
    systemd.fails("run", code=1, stderr="")
    systemd.becomes(shown(ActiveState="failed", ExecMainExitTimestampMonotonic=1, **changes), after="run")
    report = ask(systemd)
    assert report.outcome == "unwilling"
    assert report.message.startswith("/usr/local/bin/is-flat ")
    assert message in report.message
    assert f"journalctl -u {TRANSIENT}" in report.advice
    assert systemd.calls[-1].endswith(f"reset-failed -- {TRANSIENT}"), "nothing is left in systemctl --failed"


def test_a_program_that_is_still_being_asked_is_not_asked_twice(systemd: FakeSystemd) -> None:
    systemd.fails("run", code=1, stderr="Unit was already loaded or has a fragment file.")
    systemd.shows(shown(ActiveState="activating", SubState="start"))
    report = ask(systemd)
    assert report.outcome == "unwilling"
    assert "already loaded" in report.message


def test_a_systemd_that_does_not_answer_is_waited_for_no_longer_than_it_may_take(
    systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "BEFORE_GRACE_S", -3.0)
    systemd.hangs("run", seconds=20)
    began = time.monotonic()
    report = ask(systemd)
    assert time.monotonic() - began < 5
    assert report.outcome == "unwilling"


def test_who_must_not_be_run_as() -> None:
    must_be_ordinary("nobody", daemon_uid=4242)
    nobody = pwd.getpwnam("nobody").pw_uid
    for owner, daemon_uid in (("root", 4242), ("nobody", nobody), ("zq-x-none", 4242), ("0", 4242)):
        with pytest.raises(NotConfiguredError):
            must_be_ordinary(owner, daemon_uid=daemon_uid)


def test_another_name_for_root_is_root(monkeypatch: pytest.MonkeyPatch) -> None:
    root = pwd.getpwuid(0)
    monkeypatch.setattr(pwd, "getpwnam", lambda _name: root)
    with pytest.raises(NotConfiguredError, match="toor is root"):
        must_be_ordinary("toor", daemon_uid=os.geteuid() + 1)


@pytest.mark.parametrize("unit", ["bot@live.service", f"{'x' * 247}.service"])
def test_the_transient_unit_has_a_name_that_systemd_takes(unit: str) -> None:
    name = transient_unit(BeforeRequest("b" * 64, unit, 1))
    assert len(name) <= 255
    assert name.endswith(".service")
    assert "@" not in name
