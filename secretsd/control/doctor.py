"""What `secretsctl doctor` asks the daemon: whatever only the daemon can see. No values anywhere."""

from __future__ import annotations

import asyncio
import os
import pwd
import time
from collections.abc import Iterator
from pathlib import Path

from secretsd.config.load import load_checked
from secretsd.config.models import Config
from secretsd.control.check import Check, fail, ok, warn
from secretsd.control.push_report import push_check
from secretsd.control.sealed_checks import sealed_checks
from secretsd.control.source_checks import region_check, source_checks
from secretsd.control.source_report import source_documents
from secretsd.errors import ConfigError, ExitCode
from secretsd.notify import client
from secretsd.refresh.conductor import Conductor

_CAP_CHOWN = 1 << 0  # capability.h
_LITTLE_BYTES = 1024 * 1024
_HELPER_FIX = "systemctl restart secretsd-notify.socket; journalctl -u secretsd-notify -n 50"


async def examine(conductor: Conductor) -> list[Check]:
    """All checks of the daemon, in the order in which they are shown. Ends within about 20 s."""
    config = conductor.config
    names = sorted({secret.source for bundle in config.bundles.values() for secret in bundle.secrets})
    helper = asyncio.create_task(_helper(config))
    findings = await asyncio.gather(*(conductor.examine(name) for name in names))
    checks = [
        *await _differs_from_its_files(conductor),
        *_rights(config),
        _state_dir(conductor),
        _audit(conductor),
        *sealed_checks(config, conductor.states, now=time.time()),
        *_alerts(conductor),
        *await helper,
    ]
    told = source_documents(config, conductor.bundles.sources, {})
    for name, found in zip(names, findings, strict=True):
        checks += region_check(name, told[name])
        checks += source_checks(name, config, found, now=time.time())
    checks += [push_check(source, push) for source, push in sorted(conductor.pushes.states.items())]
    return checks


async def _differs_from_its_files(conductor: Conductor) -> list[Check]:
    try:
        on_disk = await asyncio.to_thread(load_checked, conductor.config_path)
    except ConfigError:
        return []  # the command line has looked at the same files, and says what is wrong with them
    # The table [signer] is not this daemon's.
    if on_disk.model_copy(update={"signer": None}) == conductor.config.model_copy(update={"signer": None}):
        return []
    return [warn("running", "the configuration was changed and is not in force", "systemctl reload secretsd")]


def _rights(config: Config) -> Iterator[Check]:
    """Whether this process can give files to their owners."""
    others = sorted({name for name, bundle in config.bundles.items() if _is_anothers(bundle.owner)})
    if not others:
        return
    if _effective_capabilities() & _CAP_CHOWN or os.geteuid() == 0:
        yield ok("rights", "may give files to their owners (CAP_CHOWN)")
        return
    yield fail(
        "rights",
        f"may not give files to their owners (no CAP_CHOWN), which {', '.join(others)} needs",
        "remove what overrides AmbientCapabilities= or CapabilityBoundingSet=: systemctl cat secretsd",
        ExitCode.IO,
    )


def _is_anothers(owner: str | None) -> bool:
    try:
        return owner is not None and pwd.getpwnam(owner).pw_uid != os.geteuid()
    except KeyError:
        return False  # the configuration's check names it


def _effective_capabilities() -> int:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    return int(fields["CapEff"], 16)


def _state_dir(conductor: Conductor) -> Check:
    path = Path(conductor.config.daemon.state_dir)
    if conductor.bundles.notebook.problem:
        problem, _, advice = conductor.bundles.notebook.problem.partition("; ")
        return fail("state", problem, advice, ExitCode.IO)
    if not os.access(path, os.W_OK | os.X_OK):
        fix = f"it must belong to the user who runs secretsd, 0711, on a writable disk: ls -ld {path}"
        return fail("state", f"{path} cannot be written", fix, ExitCode.IO)
    disk = os.statvfs(path)
    if disk.f_bavail * disk.f_frsize < _LITTLE_BYTES or (disk.f_files and not disk.f_favail):
        return warn("state", f"the disk of {path} is full", f"free space there: df -h {path}; df -i {path}")
    return ok("state", f"{path} can be written")


def _audit(conductor: Conductor) -> Check:
    if problem := conductor.trail.ledger.problem:
        what, _, fix = problem.rpartition("; ")
        return fail("audit", what, fix, ExitCode.IO)
    if problem := conductor.pruner.problem:
        return warn(
            "audit", problem, "make room, or see secretsctl log --verify and the lines of the shipper here"
        )
    return ok("audit", "the audit log is written")


def _alerts(conductor: Conductor) -> Iterator[Check]:
    config = conductor.config
    if conductor.alerts.problem:
        yield warn("alerts", conductor.alerts.problem, "secretsctl alert-test, until it ends well")
    elif not any(config.alert_command(name) for name in config.bundles):
        yield warn(
            "alerts",
            "no alert_command: nobody hears of a secret that was refused",
            "see /usr/share/doc/secretsd/alerts.md: Slack, mail",
        )
    else:
        yield ok("alerts", "alert_command is set: secretsctl alert-test tries it")


async def _helper(config: Config) -> list[Check]:
    """Whether the notify helper answers; it is asked about a unit, and does nothing to it."""
    told = [
        (name, entry.unit)
        for name, bundle in config.bundles.items()
        for entry in bundle.on_change
        if entry.action != "none"
    ]
    if not told:
        return []
    bundle, unit = told[0]
    # Of a moment long ago: whatever runs is newer than that.
    report = await client.look(
        str(config.daemon.notify_socket), bundle=bundle, unit=unit, generation=0, published_monotonic=0.0
    )
    if "notify helper" in report.message:
        return [fail("helper", report.message, report.advice or _HELPER_FIX, ExitCode.TRY_AGAIN)]
    return [ok("helper", "the notify helper answers")]
