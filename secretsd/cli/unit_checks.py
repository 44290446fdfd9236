"""What `secretsctl doctor` says of the units that a configuration names."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

from secretsd.config.models import Bundle, Config
from secretsd.config.on_change import OnChange
from secretsd.control.check import Check, fail, ok, warn
from secretsd.errors import ExitCode
from secretsd.notify.process import Fate, fate
from secretsd.notify.units import SYSTEMCTL, Systemd, SystemdError, UnitState

# What the units of a bundle are asked for beyond their state.
_PROPERTIES = ("ExecStartPre", "EnvironmentFiles", "User")
_READY_BY_ITSELF = frozenset({"notify", "notify-reload"})


def units(config: Config) -> Iterator[Check]:
    """Each unit of each bundle, in the order of the configuration."""
    for name, bundle in config.bundles.items():
        for entry in bundle.on_change:
            yield from _unit(name, bundle, entry, str(config.daemon.runtime_dir))


def _unit(name: str, bundle: Bundle, entry: OnChange, runtime_dir: str) -> Iterator[Check]:
    check = f"unit {entry.unit}"
    try:
        state, more = Systemd().look(entry.unit), _more(entry.unit)
    except SystemdError as error:
        yield fail(check, str(error), error.advice, ExitCode.TRY_AGAIN)
        return
    found = [*judge(name, bundle, entry, state, more, runtime_dir), *_signalled(check, entry, state)]
    if found:
        yield from found
    else:
        yield ok(check, f"{state.active_state}, {entry.action}, waits for {name}")


def judge(
    name: str,
    bundle: Bundle,
    entry: OnChange,
    state: UnitState,
    more: dict[str, str],
    runtime_dir: str,
) -> Iterator[Check]:
    """What is wrong with a unit, the worst first; nothing where all is well. Pure."""
    check, unit = f"unit {entry.unit}", entry.unit
    if state.load_state != "loaded":
        yield _not_loadable(check, name, unit, state)
        return
    if state.active_state == "failed":
        fix = f"journalctl -u {unit} -n 20; systemctl start {unit}"
        yield warn(check, "has failed, and secretsd starts nothing that does not run", fix)
    if entry.action == "reload" and not state.can_reload:
        fix = f'give it an ExecReload= (systemctl edit {unit}), or use action = "restart" or "signal"'
        yield fail(check, "cannot reload: it has no ExecReload=", fix, ExitCode.CONFIG)
    for file in _files_that_must_exist(more.get("EnvironmentFiles", ""), f"{runtime_dir}/{name}/"):
        fix = f"EnvironmentFile=-{file} (with the dash)"
        yield warn(check, f"does not start where {file} is not there yet, its ExecStartPre= included", fix)
    if f"wait {name}" not in more.get("ExecStartPre", ""):
        fix = f"ExecStartPre=/usr/bin/secretsctl wait {name} (systemctl edit {unit})"
        yield warn(check, f"starts without waiting for {name}: after a boot it may find no file", fix)
    if entry.action in ("reload", "signal"):
        yield from _told_while_running(check, bundle, state, more)


def _not_loadable(check: str, name: str, unit: str, state: UnitState) -> Check:
    if state.load_state == "masked":
        return fail(check, "is masked: nobody can start it", f"systemctl unmask {unit}", ExitCode.CONFIG)
    if state.load_state == "not-found":
        fix = f"install the unit, or correct on_change of bundle {name}; systemctl daemon-reload"
        return fail(check, "does not exist", fix, ExitCode.CONFIG)
    fix = f"systemd-analyze verify {unit}; systemctl status {unit}"
    return fail(check, f"is not usable: {state.load_state}", fix, ExitCode.CONFIG)


def _told_while_running(
    check: str, bundle: Bundle, state: UnitState, more: dict[str, str]
) -> Iterator[Check]:
    if state.type not in _READY_BY_ITSELF:
        fix = 'Type=notify, and READY=1 once its handler is set; or tell it by action = "restart"'
        yield warn(check, f"Type={state.type}: it can be told before it listens, and die of that", fix)
    user = more.get("User", "")
    if bundle.owner is not None and user not in (bundle.owner, "", "root"):
        fix = f'make them one: User={bundle.owner}, or owner = "{user}"'
        yield warn(check, f"runs as {user} and cannot read again what belongs to {bundle.owner}", fix)


def _signalled(check: str, entry: OnChange, state: UnitState) -> Iterator[Check]:
    """What the signal would do to the unit as it runs now."""
    if entry.action != "signal" or entry.signal is None or not (state.is_running and state.main_pid):
        return
    try:
        future = fate(state.main_pid, signal.Signals[entry.signal])
    except (OSError, KeyError):
        return  # it has just ended, or this user may not look
    if future is Fate.DEADLY:
        fix = f'give the program a handler for {entry.signal}, or use action = "restart"'
        yield fail(check, f"would die of {entry.signal}, so it is not sent", fix, ExitCode.CONFIG)
    elif future is Fate.LOST:
        fix = f"give the program a handler for {entry.signal}, or use another signal"
        yield warn(check, f"ignores {entry.signal}: it would never read its files again", fix)


def _files_that_must_exist(environment_files: str, prefix: str) -> list[str]:
    """The paths below `prefix` of "PATH (ignore_errors=no)" entries; a dash would make them "=yes"."""
    entries = environment_files.replace(") ", ")\n").splitlines()
    paths = [entry.removesuffix(" (ignore_errors=no)") for entry in entries if entry.endswith("=no)")]
    return [path for path in paths if path.startswith(prefix)]


def _more(unit: str) -> dict[str, str]:
    """The properties of _PROPERTIES; several of one name are joined by a blank. Raises: SystemdError."""
    command = [SYSTEMCTL, "show", f"--property={','.join(_PROPERTIES)}", "--", unit]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        raise SystemdError(f"systemctl show {unit} did not answer", advice="systemctl status") from None
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        found[name] = f"{found[name]} {value}" if name in found else value
    return found
