"""Bringing one unit up to date with one generation of a bundle: look, decide, act.

`verdict` and `confirmed` are pure; `act`, `look` and `confirm` carry them out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import assert_never

from secretsd.model import UnitReport
from secretsd.notify import process
from secretsd.notify.configured import Action, Reload, Restart, Signal
from secretsd.notify.protocol import JOB_TIMEOUT_S, ActRequest, ConfirmRequest, LookRequest
from secretsd.notify.units import Systemd, SystemdError, UnitState

# PID 1 reads EnvironmentFile= a moment before it stamps the main process as started. A larger margin would
# restart, at every boot, each bot whose `secretsctl wait` has just let it start.
START_MARGIN_S = 0.020
_MIN_POLL_S, _MAX_POLL_S = 0.1, 1.0


@dataclass(frozen=True, slots=True)
class Leave:
    """There is nothing to do, or nothing that can be done."""

    report: UnitReport


@dataclass(frozen=True, slots=True)
class Settle:
    """The unit is in the middle of a start or a stop: look again in a moment."""


@dataclass(frozen=True, slots=True)
class Act:
    """The unit runs on older files."""


def verdict(state: UnitState, *, published_monotonic: float) -> Leave | Settle | Act:
    """What a unit in `state` needs in order to run on what was published at `published_monotonic` (s)."""
    if state.load_state != "loaded":
        return Leave(_unusable(state))
    unit = state.unit
    if state.is_stopped:
        return Leave(_report(state, "inactive", f"{unit} is not running ({_stopped(state)}): left alone"))
    if _starts_later(state):
        return Leave(_report(state, "starting", f"{unit} is about to start: it will read the new files"))
    if _started_after(state, published_monotonic):
        after = max(state.main_started_s, state.left_inactive_s) - published_monotonic
        return Leave(
            _report(state, "current", f"{unit} started {after:.2f} s after the files were published")
        )
    # A job for a unit that is starting or stopping would be merged into the job that it is in, or undo it.
    return Act() if state.is_running else Settle()


def _unusable(state: UnitState) -> UnitReport:
    match state.load_state:
        case "not-found":
            message = f"{state.unit} does not exist"
            advice = "install the unit and run systemctl daemon-reload, or take it out of on_change"
        case "masked":
            message = f"{state.unit} is masked"
            advice = f"systemctl unmask {state.unit}, or take it out of on_change"
        case other:
            message = f"systemd cannot load {state.unit} ({other})"
            advice = f"systemd-analyze verify {state.unit} names the mistake"
    return _report(state, "failed", message, advice)


def _stopped(state: UnitState) -> str:
    return f"failed: {state.end}" if state.active_state == "failed" else state.active_state


def _starts_later(state: UnitState) -> bool:
    """Whether the process that reads the files is still to come.

    systemd reads EnvironmentFile= again for every Exec line, so what ExecStartPre= has seen does not count.
    A Type=forking unit has no main process until its ExecStart= has long read them.
    """
    if state.active_state != "activating" or state.main_pid:
        return False
    return state.sub_state in ("condition", "start-pre") or state.sub_state.startswith("auto-restart")


def _started_after(state: UnitState, published_monotonic: float) -> bool:
    if state.left_inactive_s > published_monotonic:
        return True  # every process of this run is younger
    # The main process of Type=forking is stamped when it is found, not when its environment was made.
    return state.type != "forking" and state.main_started_s > published_monotonic + START_MARGIN_S


def confirmed(state: UnitState, *, invocation: str, verb: str, acted_monotonic: float | None) -> UnitReport:
    """Whether the unit is still in the run that was told of the change by `verb`."""
    if state.is_running and state.invocation == invocation:
        return _report(state, "acted", f"{state.unit} is active")
    advice = f"see why: journalctl -u {state.unit} -n 50"
    if state.invocation != invocation:
        message = f"{state.unit} ended after its {verb} and was started again ({state.restarts} restarts)"
        return _report(state, "failed", message, advice)
    after = f"after its {verb}"
    if acted_monotonic is not None and state.main_exited_s > acted_monotonic:
        after = f"{state.main_exited_s - acted_monotonic:.1f} s {after}"
    end = state.end if state.result != "success" else f"{state.active_state}, result success"
    return _report(state, "failed", f"{state.unit} ended {after}: {end}", advice)


def act(request: ActRequest, action: Action, systemd: Systemd) -> UnitReport:
    """Sees that the unit runs on the published files; blocks up to ANSWER_TIMEOUT_S."""
    deadline = time.monotonic() + JOB_TIMEOUT_S
    try:
        state = _settled(request, systemd, deadline)
        if isinstance(state, UnitReport):
            return state
        timeout_s = max(1.0, deadline - time.monotonic())
        match action:
            case Reload():
                return _reload(state, systemd, timeout_s)
            case Restart():
                return _restart(state, systemd, timeout_s)
            case Signal():
                return _signal(state, action, systemd)
            case _:
                assert_never(action)
    except SystemdError as error:
        return UnitReport("failed", str(error), error.advice)


def look(request: LookRequest, systemd: Systemd) -> UnitReport:
    """What `act` would find; blocks up to LOOK_TIMEOUT_S."""
    try:
        state = systemd.look(request.unit)
    except SystemdError as error:
        return UnitReport("failed", str(error), error.advice)
    match verdict(state, published_monotonic=request.published_monotonic):
        case Leave(report):
            return report
        case Act():
            return _report(state, "due", f"{state.unit} runs on older files")
        case Settle():
            return _report(state, "due", f"{state.unit} is {state.active_state}, on older files")


def confirm(request: ConfirmRequest, action: Action, systemd: Systemd) -> UnitReport:
    """Whether the unit is still active in the run that was told; blocks up to LOOK_TIMEOUT_S."""
    try:
        state = systemd.look(request.unit)
    except SystemdError as error:
        return UnitReport("failed", str(error), error.advice)
    return confirmed(
        state, invocation=request.invocation, verb=action.name, acted_monotonic=request.acted_monotonic
    )


def _settled(request: ActRequest, systemd: Systemd, deadline: float) -> UnitState | UnitReport:
    """The state of a unit that has to be acted on and can be, or the report where there is nothing to do."""
    pause_s = _MIN_POLL_S
    while True:
        state = systemd.look(request.unit)
        match verdict(state, published_monotonic=request.published_monotonic):
            case Leave(report):
                return report
            case Act():
                return state
            case Settle():
                if time.monotonic() + pause_s > deadline:
                    return _unsettled(state)
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _MAX_POLL_S)


def _unsettled(state: UnitState) -> UnitReport:
    message = f"{state.unit} was still {state.active_state} after {JOB_TIMEOUT_S:.0f} s"
    return _report(state, "failed", message, f"see what it waits for: systemctl status {state.unit}")


def _reload(state: UnitState, systemd: Systemd, timeout_s: float) -> UnitReport:
    if not state.can_reload:
        advice = "the unit has no ExecReload=; use restart or signal"
        return _report(state, "failed", f"{state.unit} cannot reload", advice)
    systemd.reload(state.unit, timeout_s=timeout_s)
    # No second look: whether the same run is still there is what `confirm` asks, with this invocation.
    return _report(state, "acted", f"{state.unit} has reloaded")


def _restart(before: UnitState, systemd: Systemd, timeout_s: float) -> UnitReport:
    systemd.restart_if_running(before.unit, timeout_s=timeout_s)
    state = systemd.look(before.unit)
    if state.is_running and state.invocation != before.invocation:
        return _report(state, "acted", f"{state.unit} has restarted")
    if state.invocation == before.invocation and state.is_stopped:
        return _report(state, "inactive", f"{state.unit} was stopped meanwhile ({_stopped(state)})")
    message = f"{state.unit} is {state.active_state} right after its restart: {state.end}"
    return _report(state, "failed", message, f"see why: journalctl -u {state.unit} -n 50")


def _signal(state: UnitState, action: Signal, systemd: Systemd) -> UnitReport:
    unit, pid, name = state.unit, state.main_pid, action.name
    if not pid:
        return _report(state, "failed", f"{unit} has no main process to signal", "use reload or restart")
    gone = _report(state, "failed", f"the main process of {unit} ended before {name} was sent")
    try:
        with process.held(pid) as pidfd:
            # The number may have changed hands since the first look. What the pidfd names is the main process
            # if systemd, which has not reaped it, still says so after it was opened.
            again = systemd.look(unit)
            if _main_process(again) != _main_process(state):
                return gone
            fate = process.fate(pid, action.number)
            if fate is not process.Fate.HEARD:
                return _unheard(state, name, fate)
            process.send(pidfd, action.number)
    except ProcessLookupError:
        return gone
    except OSError as error:
        return _report(state, "failed", f"{name} could not be sent to PID {pid} of {unit}: {error.strerror}")
    return _report(state, "acted", f"{name} was sent to PID {pid} of {unit}")


def _main_process(state: UnitState) -> tuple[int, str, float]:
    return state.main_pid, state.invocation, state.main_started_s


def _unheard(state: UnitState, name: str, fate: process.Fate) -> UnitReport:
    pid, unit = state.main_pid, state.unit
    if fate is process.Fate.LOST:
        message = f"signal {name} would be lost: PID {pid} of {unit} ignores it"
    else:
        message = f"signal {name} would kill PID {pid} of {unit}: it has no handler for it"
    advice = f"give the program a handler for {name}, or use reload or restart"
    return _report(state, "failed", message, advice)


def _report(state: UnitState, outcome: str, message: str, advice: str = "") -> UnitReport:
    return UnitReport(outcome, message, advice, invocation=state.invocation, main_pid=state.main_pid)
