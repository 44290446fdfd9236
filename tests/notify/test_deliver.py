from __future__ import annotations

import signal

import pytest

from secretsd.model import UnitReport
from secretsd.notify import deliver
from secretsd.notify.configured import Action, Reload, Restart, Signal
from secretsd.notify.deliver import Act, Leave, Settle, confirmed, verdict
from secretsd.notify.protocol import ActRequest, ConfirmRequest
from secretsd.notify.units import Systemd, parse_state
from tests.notify.fake_systemd import INVOCATION, NEXT_INVOCATION, UNIT, FakeSystemd, shown
from tests.notify.running import DOES_NOT, HANDLES, SpawnProgram

PUBLISHED_S = 100.0
HUP = Signal(signal.SIGHUP)


def judge(**changes: object) -> Leave | Settle | Act:
    return verdict(parse_state(UNIT, shown(**changes)), published_monotonic=PUBLISHED_S)


def outcome(**changes: object) -> str:
    judged = judge(**changes)
    assert isinstance(judged, Leave), judged
    return judged.report.outcome


def act(systemd: FakeSystemd, action: Action) -> UnitReport:
    return deliver.act(ActRequest("trading-bot", UNIT, 7, PUBLISHED_S), action, Systemd(systemd.systemctl))


# The decision


def test_a_unit_that_runs_on_older_files_is_acted_on() -> None:
    assert judge() == Act()
    assert judge(ActiveState="reloading", SubState="reload") == Act()


@pytest.mark.parametrize(("load_state", "advice"), [("not-found", "daemon-reload"), ("masked", "unmask")])
def test_a_unit_that_cannot_be_acted_on_is_a_failure_with_advice(load_state: str, advice: str) -> None:
    judged = judge(LoadState=load_state, ActiveState="inactive")
    assert isinstance(judged, Leave)
    assert judged.report.outcome == "failed"
    assert advice in judged.report.advice


def test_a_unit_that_is_not_running_is_left_alone() -> None:
    assert outcome(ActiveState="inactive", SubState="dead", MainPID=0) == "inactive"
    judged = judge(
        ActiveState="failed",
        Result="exit-code",
        ExecMainExitTimestampMonotonic=1,
        ExecMainCode=1,
        ExecMainStatus=3,
    )
    assert isinstance(judged, Leave)
    assert judged.report.outcome == "inactive"
    assert "exit-code, status 3" in judged.report.message


@pytest.mark.parametrize("sub_state", ["condition", "start-pre", "auto-restart", "auto-restart-queued"])
def test_a_unit_that_has_not_started_its_main_process_will_read_the_new_files(sub_state: str) -> None:
    assert outcome(ActiveState="activating", SubState=sub_state, MainPID=0) == "starting"


def test_a_main_process_that_is_older_than_the_files_is_waited_for_until_it_can_be_told() -> None:
    assert judge(ActiveState="activating", SubState="start") == Settle()
    assert judge(ActiveState="deactivating", SubState="stop-sigterm") == Settle()


def test_a_forking_unit_without_main_process_may_have_read_the_old_files() -> None:
    assert judge(ActiveState="activating", SubState="start", Type="forking", MainPID=0) == Settle()


def test_a_main_process_that_started_after_the_publish_is_current() -> None:
    assert outcome(ExecMainStartTimestampMonotonic=100_030_000) == "current"
    assert outcome(
        ActiveState="activating", SubState="start", ExecMainStartTimestampMonotonic=100_030_000
    ) == ("current")


def test_a_main_process_stamped_just_after_the_publish_may_have_read_the_old_files() -> None:
    assert judge(ExecMainStartTimestampMonotonic=100_015_000) == Act()
    # Unless the whole run began after it.
    assert (
        outcome(InactiveExitTimestampMonotonic=100_001_000, ExecMainStartTimestampMonotonic=100_015_000)
        == "current"
    )


def test_the_stamp_of_a_forking_units_main_process_is_not_that_of_its_environment() -> None:
    assert judge(Type="forking", ExecMainStartTimestampMonotonic=100_500_000) == Act()
    assert outcome(Type="forking", InactiveExitTimestampMonotonic=100_100_000) == "current"


# Reload and restart


def test_a_reload_reports_the_run_that_was_told(systemd: FakeSystemd) -> None:
    report = act(systemd, Reload())
    assert (report.outcome, report.invocation, report.main_pid) == ("acted", INVOCATION, 4711)
    assert [job.split()[-3] for job in systemd.jobs] == ["reload"]


def test_a_unit_without_exec_reload_is_not_reloaded(systemd: FakeSystemd) -> None:
    systemd.shows(shown(CanReload="no"))
    report = act(systemd, Reload())
    assert report.outcome == "failed"
    assert "no ExecReload=" in report.advice
    assert systemd.jobs == []


def test_a_reload_that_fails_is_reported_with_what_systemctl_said(systemd: FakeSystemd) -> None:
    systemd.fails("reload", code=1, stderr=f"Job for {UNIT} failed.\n")
    report = act(systemd, Reload())
    assert report.outcome == "failed"
    assert f"Job for {UNIT} failed." in report.message


def test_a_restart_reports_the_new_run(systemd: FakeSystemd) -> None:
    systemd.becomes(shown(InvocationID=NEXT_INVOCATION, MainPID=4712), after="try-restart")
    report = act(systemd, Restart())
    assert (report.outcome, report.invocation, report.main_pid) == ("acted", NEXT_INVOCATION, 4712)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ActiveState": "inactive", "MainPID": 0}, "inactive"),
        ({"ActiveState": "failed", "MainPID": 0, "InvocationID": NEXT_INVOCATION}, "failed"),
        (
            {"ActiveState": "activating", "SubState": "auto-restart", "InvocationID": NEXT_INVOCATION},
            "failed",
        ),
        ({}, "failed"),
    ],
)
def test_a_restart_that_did_not_end_in_a_new_run_is_no_success(
    systemd: FakeSystemd, changes: dict[str, object], expected: str
) -> None:
    systemd.becomes(shown(**changes), after="try-restart")
    assert act(systemd, Restart()).outcome == expected


def test_a_unit_that_is_starting_is_acted_on_once_it_is_active(systemd: FakeSystemd) -> None:
    starting = shown(ActiveState="activating", SubState="start")
    systemd.shows(starting, starting, shown())
    assert act(systemd, Reload()).outcome == "acted"
    assert [call.split()[-3] for call in systemd.calls][-1] == "reload"


def test_a_unit_that_stays_in_between_is_given_up(
    systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "JOB_TIMEOUT_S", 0.3)
    systemd.shows(shown(ActiveState="activating", SubState="start"))
    report = act(systemd, Reload())
    assert report.outcome == "failed"
    assert "still activating" in report.message
    assert systemd.jobs == []


def test_a_systemd_that_does_not_answer_is_a_failure(systemd: FakeSystemd) -> None:
    systemd.fails("show", code=1, stderr="Failed to connect to bus: Connection refused\n")
    report = act(systemd, Reload())
    assert report.outcome == "failed"
    assert "Connection refused" in report.message


# Signals


def test_a_process_with_a_handler_gets_the_signal_and_lives(
    systemd: FakeSystemd, program: SpawnProgram
) -> None:
    bot = program(HANDLES)
    systemd.shows(shown(MainPID=bot.pid))
    report = act(systemd, HUP)
    assert (report.outcome, report.main_pid) == ("acted", bot.pid)
    assert bot.stdout is not None
    assert bot.stdout.readline() == "heard\n"
    assert bot.poll() is None
    assert systemd.jobs == []


def test_a_process_without_a_handler_is_not_killed(systemd: FakeSystemd, program: SpawnProgram) -> None:
    bot = program(DOES_NOT)
    systemd.shows(shown(MainPID=bot.pid))
    report = act(systemd, HUP)
    assert report.outcome == "failed"
    assert f"signal SIGHUP would kill PID {bot.pid}" in report.message
    assert "no handler" in report.message
    assert bot.poll() is None


@pytest.mark.parametrize("changes", [{"MainPID": 1}, {"InvocationID": NEXT_INVOCATION}, {"MainPID": 0}])
def test_a_main_process_that_changed_between_the_looks_is_not_signalled(
    systemd: FakeSystemd, program: SpawnProgram, changes: dict[str, object]
) -> None:
    pid = program(HANDLES).pid
    systemd.shows(shown(MainPID=pid), shown(**{"MainPID": pid, **changes}))
    report = act(systemd, HUP)
    assert report.outcome == "failed"
    assert "ended before SIGHUP was sent" in report.message


def test_a_unit_without_main_process_is_not_signalled(systemd: FakeSystemd) -> None:
    systemd.shows(shown(MainPID=0, SubState="exited"))
    assert "no main process" in act(systemd, HUP).message


# Confirmation


def confirm(*, acted_monotonic: float | None = 101.0, **changes: object) -> UnitReport:
    state = parse_state(UNIT, shown(**changes))
    return confirmed(state, invocation=INVOCATION, verb="reload", acted_monotonic=acted_monotonic)


@pytest.mark.parametrize("active_state", ["active", "reloading"])
def test_a_unit_that_is_still_in_its_run_is_confirmed(active_state: str) -> None:
    assert confirm(ActiveState=active_state).outcome == "acted"


def test_a_unit_that_died_of_the_change_is_told_with_the_time_it_took() -> None:
    report = confirm(
        ActiveState="failed",
        MainPID=0,
        Result="exit-code",
        ExecMainCode=1,
        ExecMainStatus=1,
        ExecMainExitTimestampMonotonic=101_400_000,
    )
    assert report.outcome == "failed"
    assert report.message == f"{UNIT} ended 0.4 s after its reload: exit-code, status 1"


def test_a_unit_that_waits_for_its_automatic_restart_is_not_confirmed() -> None:
    report = confirm(
        ActiveState="activating",
        SubState="auto-restart",
        MainPID=0,
        Result="signal",
        ExecMainCode=2,
        ExecMainStatus=1,
        ExecMainExitTimestampMonotonic=99_000_000,
        acted_monotonic=None,
    )
    assert report.message == f"{UNIT} ended after its reload: signal, signal 1"


def test_a_unit_in_another_run_is_not_confirmed() -> None:
    report = confirm(InvocationID=NEXT_INVOCATION, NRestarts=1)
    assert report.outcome == "failed"
    assert "started again (1 restarts)" in report.message


def test_a_unit_that_was_stopped_is_told_as_stopped() -> None:
    assert confirm(ActiveState="inactive", MainPID=0).message.endswith("inactive, result success")


def test_a_confirmation_that_cannot_be_had_is_a_failure(systemd: FakeSystemd) -> None:
    systemd.fails("show", code=1, stderr="no bus\n")
    request = ConfirmRequest("trading-bot", UNIT, INVOCATION)
    assert deliver.confirm(request, Reload(), Systemd(systemd.systemctl)).outcome == "failed"
