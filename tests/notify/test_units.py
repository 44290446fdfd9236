from __future__ import annotations

import os
from pathlib import Path

import pytest

from secretsd.notify.units import Systemd, SystemdError, parse_state
from tests.notify.fake_systemd import INVOCATION, UNIT, FakeSystemd, shown


def test_a_state_is_read_with_its_times_in_seconds() -> None:
    state = parse_state(UNIT, shown())
    assert (state.main_pid, state.invocation, state.can_reload) == (4711, INVOCATION, True)
    assert (state.left_inactive_s, state.main_started_s, state.main_exited_s) == (50.0, 50.02, 0.0)
    assert state.is_running
    assert not state.is_stopped


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({"Result": "exit-code", "ExecMainCode": 1, "ExecMainStatus": 1}, "exit-code, status 1"),
        ({"Result": "signal", "ExecMainCode": 2, "ExecMainStatus": 9}, "signal, signal 9"),
        ({"Result": "core-dump", "ExecMainCode": 3, "ExecMainStatus": 6}, "core-dump, signal 6"),
        ({"Result": "success", "ExecMainCode": 1}, "success"),
        ({"Result": "resources", "ExecMainExitTimestampMonotonic": 0}, "resources"),
    ],
)
def test_the_end_of_a_unit_is_told_in_systemds_words(changes: dict[str, object], end: str) -> None:
    assert parse_state(UNIT, shown(**{"ExecMainExitTimestampMonotonic": 60_000_000, **changes})).end == end


@pytest.mark.parametrize("text", ["", "LoadState=loaded\n", shown(MainPID="many"), "no equals sign"])
def test_an_answer_without_a_services_properties_is_an_error(text: str) -> None:
    with pytest.raises(SystemdError, match="properties"):
        parse_state(UNIT, text)


def test_jobs_ignore_dependencies_or_the_daemons_reload_waits_for_itself(systemd: FakeSystemd) -> None:
    manager = Systemd(systemd.systemctl)
    manager.reload(UNIT, timeout_s=10)
    manager.restart_if_running(UNIT, timeout_s=10)
    common = "--no-pager --no-ask-password --job-mode=ignore-dependencies"
    assert systemd.calls == [f"{common} reload -- {UNIT}", f"{common} try-restart -- {UNIT}"]


def test_one_look_is_one_call(systemd: FakeSystemd) -> None:
    Systemd(systemd.systemctl).look(UNIT)
    (call,) = systemd.calls
    assert call.startswith("--no-pager --no-ask-password show --property=LoadState,")
    assert call.endswith(f" -- {UNIT}")


def test_systemctl_gets_nothing_of_the_callers_environment(
    systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SYSTEMD_PAGER", "DBUS_SYSTEM_BUS_ADDRESS", "LD_PRELOAD_", "SYSTEMCTL_FORCE_BUS"):
        monkeypatch.setenv(name, "fake-but-not-wanted")
    Systemd(systemd.systemctl).look(UNIT)
    passed = systemd.environment.keys() - {"PWD", "OLDPWD", "SHLVL", "_"}  # the shell's own
    assert passed == {"PATH", "LC_ALL", "SYSTEMD_COLORS"}
    assert systemd.environment["PATH"] == "/usr/sbin:/usr/bin:/sbin:/bin"


def test_what_systemctl_says_is_one_line_of_bounded_length(systemd: FakeSystemd) -> None:
    systemd.fails("reload", code=1, stderr="Job for it failed.\nSee more.\n" + "x" * 1000)
    with pytest.raises(SystemdError) as caught:
        Systemd(systemd.systemctl).reload(UNIT, timeout_s=10)
    assert str(caught.value).startswith(f"reload of {UNIT} failed: Job for it failed. See more. xxx")
    assert len(str(caught.value)) < 400
    assert "journalctl -u" in caught.value.advice


def test_a_client_that_says_nothing_is_named_by_its_code(systemd: FakeSystemd) -> None:
    systemd.fails("try-restart", code=5, stderr="")
    with pytest.raises(SystemdError, match="systemctl ended with 5"):
        Systemd(systemd.systemctl).restart_if_running(UNIT, timeout_s=10)


def test_a_job_that_does_not_end_is_given_up_and_its_client_is_killed(systemd: FakeSystemd) -> None:
    systemd.hangs("reload", seconds=61.25)
    with pytest.raises(SystemdError, match="not done after 1 s"):
        Systemd(systemd.systemctl).reload(UNIT, timeout_s=0.6)
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and b"61.25" in command_line(pid)]


def command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_host_without_systemctl_is_told_so() -> None:
    with pytest.raises(SystemdError, match="cannot be run"):
        Systemd("/nonexistent/systemctl").look(UNIT)
