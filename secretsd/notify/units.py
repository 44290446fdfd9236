"""Asking systemd about a unit and telling it to act, through its own client.

systemctl and not the bus: it is on every host with systemd, and it works while D-Bus is down.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from secretsd.errors import SecretsdError
from secretsd.notify.protocol import LOOK_TIMEOUT_S, one_line

SYSTEMCTL = "/usr/bin/systemctl"
SYSTEMD_RUN = "/usr/bin/systemd-run"
MAX_STDERR_CHARS = 300

# Nothing of the caller's: no pager, no language, no other bus.
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "SYSTEMD_COLORS": "0"}
# The bot is ordered after secretsd.service, whose reload waits for this job: with the default job mode each
# would wait for the other until the timeout.
_JOB_MODE = "--job-mode=ignore-dependencies"

_RUNNING = frozenset({"active", "reloading", "refreshing"})
_STOPPED = frozenset({"inactive", "failed"})
_KILLED = frozenset({"2", "3"})  # ExecMainCode: CLD_KILLED, CLD_DUMPED

_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Type",
    "MainPID",
    "InvocationID",
    "CanReload",
    "Result",
    "NRestarts",
    "InactiveExitTimestampMonotonic",
    "ExecMainStartTimestampMonotonic",
    "ExecMainExitTimestampMonotonic",
    "ExecMainCode",
    "ExecMainStatus",
)


class SystemdError(SecretsdError):
    """systemd could not be asked, or did not do what it was asked."""

    code = "systemd"


@dataclass(frozen=True, slots=True)
class UnitState:
    """A service as systemd saw it at one moment; times are seconds of CLOCK_MONOTONIC, 0.0 for never."""

    unit: str
    load_state: str
    active_state: str
    sub_state: str
    type: str
    main_pid: int
    invocation: str
    can_reload: bool
    result: str
    restarts: int
    left_inactive_s: float
    main_started_s: float
    main_exited_s: float
    main_code: str
    main_status: str

    @property
    def is_running(self) -> bool:
        return self.active_state in _RUNNING

    @property
    def is_stopped(self) -> bool:
        return self.active_state in _STOPPED

    @property
    def end(self) -> str:
        """How its last run ended, in systemd's words: "exit-code, status 1", "signal, signal 9"."""
        if self.result == "success" or not self.main_exited_s:
            return self.result
        noun = "signal" if self.main_code in _KILLED else "status"
        return f"{self.result}, {noun} {self.main_status}"


def parse_state(unit: str, text: str) -> UnitState:
    """The output of `systemctl show` as a state.

    Raises: SystemdError when it does not hold a service's properties.
    """
    properties = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    try:
        return UnitState(
            unit=unit,
            load_state=properties["LoadState"],
            active_state=properties["ActiveState"],
            sub_state=properties["SubState"],
            type=properties["Type"],
            main_pid=int(properties["MainPID"]),
            invocation=properties.get("InvocationID", ""),
            can_reload=properties["CanReload"] == "yes",
            result=properties["Result"],
            restarts=int(properties["NRestarts"]),
            left_inactive_s=_seconds(properties, "InactiveExitTimestampMonotonic"),
            main_started_s=_seconds(properties, "ExecMainStartTimestampMonotonic"),
            main_exited_s=_seconds(properties, "ExecMainExitTimestampMonotonic"),
            main_code=properties["ExecMainCode"],
            main_status=properties["ExecMainStatus"],
        )
    except (KeyError, ValueError):
        raise SystemdError(
            f"systemctl show {unit} did not answer with a service's properties",
            advice=f"look at it by hand: systemctl show {unit}",
        ) from None


def _seconds(properties: dict[str, str], key: str) -> float:
    return int(properties[key]) / 1_000_000


@dataclass(frozen=True, slots=True)
class Systemd:
    """The service manager, as its clients (absolute paths) reach it."""

    systemctl: str = SYSTEMCTL
    systemd_run: str = SYSTEMD_RUN

    def look(self, unit: str) -> UnitState:
        """The unit as it is now; one that does not exist has the load state "not-found".

        Raises: SystemdError; at the latest after LOOK_TIMEOUT_S.
        """
        output = self._run("show", f"--property={','.join(_PROPERTIES)}", unit=unit, timeout_s=LOOK_TIMEOUT_S)
        return parse_state(unit, output)

    def reload(self, unit: str, *, timeout_s: float) -> None:
        """Reloads the unit and waits for its ExecReload= to end.

        Raises: SystemdError when the job failed or was still running after `timeout_s`.
        """
        self._run(_JOB_MODE, "reload", unit=unit, timeout_s=timeout_s)

    def restart_if_running(self, unit: str, *, timeout_s: float) -> None:
        """Restarts the unit and waits until it has started; nothing at all if it is not running.

        Raises: SystemdError when the job failed or was still running after `timeout_s`.
        """
        self._run(_JOB_MODE, "try-restart", unit=unit, timeout_s=timeout_s)

    def forget(self, unit: str) -> None:
        """Lets go of how a transient unit failed, so that its name is free."""
        with contextlib.suppress(SystemdError):  # there is none
            self._run("reset-failed", unit=unit, timeout_s=LOOK_TIMEOUT_S)

    def run(self, unit: str, command: Sequence[str], *, options: Sequence[str], timeout_s: float) -> None:
        """Runs `command` as the transient service `unit` and waits for its end.

        A Type=oneshot service has started when its program has ended, and only then. So the client needs no
        --wait, which would need D-Bus.

        Raises: SystemdError when it could not be run, exited with another status than 0 or was still running
        after `timeout_s`.
        """
        quiet = ["--quiet", "--no-ask-password", "--service-type=oneshot"]
        program = [self.systemd_run, *quiet, f"--unit={unit}", *options, "--", *command]
        self._done(program, verb="run", unit=unit, timeout_s=timeout_s)

    def _run(self, *arguments: str, unit: str, timeout_s: float) -> str:
        verb = next(word for word in arguments if not word.startswith("-"))
        command = [self.systemctl, "--no-pager", "--no-ask-password", *arguments, "--", unit]
        return self._done(command, verb=verb, unit=unit, timeout_s=timeout_s)

    def _done(self, command: list[str], *, verb: str, unit: str, timeout_s: float) -> str:
        try:
            # Leaving `run` by the timeout kills the client; a job that it queued goes on in systemd.
            done = subprocess.run(
                command,
                env=_ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SystemdError(
                f"{verb} of {unit} was not done after {timeout_s:.0f} s; its client was ended, a job goes on",
                advice=f"see what it waits for: systemctl list-jobs, systemctl status {unit}",
            ) from None
        except OSError as error:
            raise SystemdError(
                f"{command[0]} cannot be run: {error.strerror}", advice="is systemd installed?"
            ) from None
        if done.returncode != 0:
            said = one_line(done.stderr.decode(errors="replace"), max_chars=MAX_STDERR_CHARS)
            raise SystemdError(
                f"{verb} of {unit} failed: {said or f'{command[0]} ended with {done.returncode}'}",
                advice=f"see why: journalctl -u {unit} -n 50",
            )
        return done.stdout.decode(errors="replace")
