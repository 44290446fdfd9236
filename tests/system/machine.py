"""A machine with the package installed, bundles and bots: what the system tests talk about."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.host import CommandError
from tests.lab.lab import Lab

BOT = Path(__file__).parent / "bot.py"

# For what does not depend on the release: systemd 252 is the older, and the stricter, of the two.
on_bookworm = pytest.mark.parametrize("suite", ["bookworm"])

_UNIT = """
[Unit]
After=secretsd.service
Wants=secretsd.service

[Service]
Type=notify
User={name}
ExecStartPre=/usr/bin/secretsctl wait {name} --timeout 20s
EnvironmentFile=-/run/secretsd/{name}/env
ExecStart=/usr/bin/python3 -I /usr/local/lib/bot.py {name} {arguments}
ExecReload=/bin/kill -HUP $MAINPID
Restart=no
TimeoutStartSec=40
{service}
"""

_BUNDLE = """
[bundles.{name}]
owner = "{name}"
{bundle}

[[bundles.{name}.secrets]]
source = "aws"
id = "{name}/production"

[bundles.{name}.variables]
API_KEY = {{ min_length = 4 }}

[[bundles.{name}.outputs]]
path = "env"
format = "env"
"""

_ON_CHANGE = """
[[bundles.{name}.on_change]]
unit = "{name}.service"
{on_change}
"""

RELOAD = 'action = "reload"\nconfirm = "200ms"'
RESTART = 'action = "restart"\nconfirm = "200ms"'
SIGNAL = 'action = "signal"\nsignal = "SIGHUP"\nconfirm = "200ms"'


class Machine:
    """What an operator has: a shell on the host, and the account in AWS."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.host, self.aws, self.proxy = lab, lab.host, lab.aws, lab.proxy

    def configure(self, text: str = "", *, source: str = "") -> None:
        """The daemon's and the source's configuration, and where AWS is; no bundles."""
        environment = "".join(f"{name}={value}\n" for name, value in self.lab.environment.items())
        self.host.put("/etc/default/secretsd", environment)
        table = f'[sources.aws]\ntype = "aws-secretsmanager"\nregion = "us-east-1"\n{source}'
        self.host.put("/etc/secretsd/secretsd.toml", f'[daemon]\nrefresh_interval = "1h"\n{text}\n{table}')

    def add_bot(
        self,
        name: str,
        key: str | None,
        on_change: str | None = RELOAD,
        *,
        bundle: str = "",
        service: str = "",
        arguments: str = "",
    ) -> None:
        """A user, a unit that waits for its bundle, the bundle, and the secret (no `key`: no secret)."""
        self.host.sh(f"id {name} >/dev/null 2>&1 || useradd --system {name}")
        self.host.sh("mkdir -p -m 1777 /run/bots")
        self.host.put("/usr/local/lib/bot.py", BOT.read_text(encoding="utf-8"))
        self.write_unit(name, service=service, arguments=arguments)
        text = _BUNDLE.format(name=name, bundle=bundle)
        if on_change is not None:
            text += _ON_CHANGE.format(name=name, on_change=on_change)
        self.host.put(f"/etc/secretsd/conf.d/{name}.toml", text)
        if key is not None:
            self.aws.create(f"{name}/production", {"API_KEY": key})

    def write_unit(self, name: str, *, service: str = "", arguments: str = "") -> None:
        """The bot's unit, in the place of whatever is there."""
        path = f"/etc/systemd/system/{name}.service"
        # It may be the link to /dev/null that masks it.
        self.host.run(["rm", "-f", path])
        self.host.put(path, _UNIT.format(name=name, arguments=arguments, service=service))
        self.host.systemctl("daemon-reload")

    def rotate(self, name: str, key: str) -> None:
        self.aws.put(f"{name}/production", {"API_KEY": key})

    def drop_in(self, unit: str, text: str) -> None:
        """What `systemctl edit` does: a [Service] section on top of the unit's own."""
        self.host.put(f"/etc/systemd/system/{unit}.service.d/test.conf", f"[Service]\n{text}\n")
        self.host.systemctl("daemon-reload")

    def restart_secretsd(self) -> None:
        self.host.systemctl("restart", "secretsd")

    def reload_secretsd(self) -> int:
        """The exit code of `systemctl reload secretsd`."""
        return self.host.systemctl("reload", "secretsd", check=False).returncode

    def secretsctl(self, *arguments: str, user: str | int | None = None) -> tuple[int, str]:
        """Exit code and everything that was said."""
        done = self.host.run(["secretsctl", *arguments], user=user, check=False, timeout_s=90)
        return done.returncode, done.stdout + done.stderr

    def status(self, name: str) -> dict[str, Any]:
        """The bundle's part of `status --json`."""
        document = json.loads(self.host.run(["secretsctl", "status", name, "--json"]).stdout)
        bundle: dict[str, Any] = document["bundles"][name]
        return bundle

    def seen(self, name: str) -> list[str]:
        """What the bot has noted: "start KEY" or "reload KEY", in order."""
        return [line.rpartition(" ")[0] for line in self._log(name)]

    def seen_at(self, name: str) -> float:
        """When the bot made its last note: CLOCK_MONOTONIC, which the machine shares with the test, in s."""
        return float(self._log(name)[-1].rpartition(" ")[2])

    def _log(self, name: str) -> list[str]:
        done = self.host.run(["cat", f"/run/bots/{name}.log"], check=False)
        return done.stdout.splitlines() if done.returncode == 0 else []

    def main_pid(self, unit: str) -> int:
        """The unit's main process, by its number inside the machine; 0 for none."""
        return int(self.host.show(unit, "MainPID") or 0)

    def kill(self, *pids_inside: int) -> None:
        for pid in pids_inside:
            self.host.run(["kill", "-9", str(pid)], check=False)

    def children(self, pid_inside: int) -> list[int]:
        """The children of a process, by their numbers inside the machine."""
        return [int(pid) for pid in self.host.sh(f"pgrep -P {pid_inside} || true").split()]

    def published_files(self) -> list[str]:
        """Everything under the runtime directory but the socket and the key, "TYPE MODE USER PATH"."""
        listing = self.host.sh("cd /run/secretsd && find . -mindepth 1 -printf '%y %m %u %p\\n' | sort -k4")
        return [
            line
            for line in listing.splitlines()
            if not line.endswith(("control.sock", ".digest-key", ".lock")) and "/.confirmed" not in line
        ]


def eventually(condition: Callable[[], object], what: str, *, timeout_s: float = 15.0) -> None:
    """Waits until `condition` holds. Raises AssertionError that says `what` did not come true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.03)


__all__ = ["RELOAD", "RESTART", "SIGNAL", "CommandError", "Machine", "eventually", "on_bookworm"]
