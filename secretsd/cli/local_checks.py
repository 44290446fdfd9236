"""What `secretsctl doctor` finds out without the daemon: configuration, kernel, memory, users."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from secretsd.config.disk import INSTALLED_CONFIG
from secretsd.config.load import load_checked
from secretsd.config.models import Config
from secretsd.control.check import Check, fail, ok, warn
from secretsd.errors import ConfigError, ExitCode
from secretsd.notify.units import SYSTEMCTL
from secretsd.refresh.files.memory import memory_kind

USER = "secretsd"

_NOSWAP = (6, 4)  # tmpfs's mount option
_PEER_PIDFD = (6, 5)  # SO_PEERPIDFD
_LITTLE_BYTES = 1024 * 1024
_STATUS_CREDENTIALS = "243"  # EXIT_CREDENTIALS of systemd.exec(5)
_NO_SEAL_KEY = (
    "to start without sealed copies: rm /etc/systemd/system/secretsd.service.d/seal-key.conf; systemctl"
    " daemon-reload; systemctl restart secretsd; then, with AWS in reach: secretsctl seal-setup --force"
)


def configuration(path: Path) -> tuple[Config, list[Check]]:
    """The configuration, empty where it cannot be used, and a check for it or for each of its mistakes.

    Of the installed service also owner and mode of each file: the root helper acts on nobody else's.
    """
    try:
        config = load_checked(path)
    except ConfigError as error:
        fix = f"correct it; secretsctl check-config {path}; systemctl reload secretsd"
        return Config(), [fail("config", line, fix, ExitCode.CONFIG) for line in error.problems]
    secrets = sum(len(bundle.secrets) for bundle in config.bundles.values())
    if not config.bundles and config.signer is not None:
        return config, [ok("config", f"{path}: bundles: 0, signing keys: {len(config.signer.keys)}")]
    if not config.bundles:
        fix = "add one to /etc/secretsd/conf.d, see secretsd.toml(5); systemctl reload secretsd"
        return config, [warn("config", f"{path} names no bundle", fix)]
    return config, [ok("config", f"{path}: bundles: {len(config.bundles)}, secrets: {secrets}")]


def daemon_that_does_not_answer(message: str, config_path: Path) -> Check:
    """Why, as far as systemd knows."""
    if config_path != INSTALLED_CONFIG:
        fix = f"start it: secretsd --config {config_path}"
        return fail("daemon", message, fix, ExitCode.TRY_AGAIN)
    state = shown("secretsd.service", "ActiveState,SubState,Result,LoadState,ExecMainStatus")
    if state.get("LoadState") == "not-found":
        return fail("daemon", "secretsd.service does not exist", "apt install secretsd", ExitCode.TRY_AGAIN)
    if state.get("ExecMainStatus") == _STATUS_CREDENTIALS and state.get("Result") == "exit-code":
        return fail("daemon", "systemd cannot decrypt the seal key", _NO_SEAL_KEY, ExitCode.TRY_AGAIN)
    active, sub = state.get("ActiveState"), state.get("SubState")
    what = f"secretsd.service is {active} ({sub})" if active else "nor does systemd"
    fix = "systemctl start secretsd; if it does not stay: journalctl -u secretsd -n 50"
    return fail("daemon", f"{message}; {what}", fix, ExitCode.TRY_AGAIN)


def host(config: Config) -> Iterator[Check]:
    """Kernel, memory and user."""
    yield kernel(os.uname().release)
    runtime_dir = Path(config.daemon.runtime_dir)
    if runtime_dir.is_dir():
        yield from _memory(runtime_dir, foreground=config.foreground)
        yield _space(runtime_dir)
    else:
        fix = "systemctl restart secretsd-runtime secretsd" if not config.foreground else "start secretsd"
        yield fail("memory", f"{runtime_dir} is not there", fix, ExitCode.IO)
    if not config.foreground:
        yield _user()


def kernel(release: str) -> Check:
    """What the kernel has of what is used where it is there. Nothing here stops the daemon."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    version = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    noswap = "tmpfs noswap" if version >= _NOSWAP else "no tmpfs noswap (6.4): ramfs is used"
    pidfd = "SO_PEERPIDFD" if version >= _PEER_PIDFD else "no SO_PEERPIDFD (6.5): SO_PEERCRED is used"
    return ok("kernel", f"Linux {release}: {noswap}, {pidfd}")


def _memory(runtime_dir: Path, *, foreground: bool) -> Iterator[Check]:
    kind = memory_kind(runtime_dir)
    if not kind.warning:
        yield ok("memory", f"{runtime_dir} is on {kind.name}")
    elif foreground:
        yield warn("memory", kind.warning, "for real secrets put runtime_dir on a tmpfs with noswap")
    else:
        fix = "systemctl restart secretsd-runtime secretsd; systemctl status secretsd-runtime"
        yield fail("memory", kind.warning, fix, ExitCode.IO)


def _space(runtime_dir: Path) -> Check:
    disk = os.statvfs(runtime_dir)
    if not disk.f_blocks:
        return ok("space", f"{runtime_dir} has no limit of its own")
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < _LITTLE_BYTES or (disk.f_files and not disk.f_favail):
        fix = f"mount -o remount,size=64M {runtime_dir}, and see what fills it: du -a {runtime_dir}"
        return fail("space", f"{runtime_dir} is full: new secrets cannot be published", fix, ExitCode.IO)
    return ok("space", f"{runtime_dir} has {free_bytes // _LITTLE_BYTES} MiB free")


def _user() -> Check:
    try:
        uid = pwd.getpwnam(USER).pw_uid
    except KeyError:
        fix = "systemd-sysusers; systemctl restart secretsd"
        return fail("user", f"the user {USER} does not exist", fix, ExitCode.CONFIG)
    return ok("user", f"{USER} has uid {uid}")


def shown(unit: str, properties: str) -> dict[str, str]:
    """Properties of a unit; none where systemd does not answer."""
    try:
        done = subprocess.run(
            [SYSTEMCTL, "show", f"--property={properties}", "--", unit],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
