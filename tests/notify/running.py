"""A notify helper and bots' programs as real processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.notify.fake_systemd import UNIT, FakeSystemd
from tests.programs import notify_helper

SpawnProgram = Callable[[str], subprocess.Popen[str]]

HANDLES = """
import signal, time
signal.signal(signal.SIGHUP, lambda *_: print("heard", flush=True))
print("ready", flush=True)
while True: time.sleep(60)
"""
DOES_NOT = "import time; print('ready', flush=True); time.sleep(60)"

CONFIG = f"""
[[bundles.trading-bot.on_change]]
unit = "{UNIT}"
action = "reload"
confirm = "10s"

[[bundles.restarted.on_change]]
unit = "{UNIT}"
action = "restart"

[bundles.asking]
owner = "nobody"

[[bundles.asking.on_change]]
unit = "{UNIT}"
action = "reload"
before = ["/usr/local/bin/is-flat", "--bot", "$x"]
before_timeout = "2s"

[[bundles.signalled.on_change]]
unit = "{UNIT}"
action = "signal"
signal = "SIGHUP"
"""


@dataclass
class RunningHelper:
    """A notify helper as a process of its own, on a socket in a directory that any user may enter."""

    directory: Path
    systemd: FakeSystemd
    process: subprocess.Popen[str] | None = None

    @property
    def socket_path(self) -> str:
        return str(self.directory / "notify.sock")

    @property
    def config(self) -> Path:
        return self.directory / "etc" / "secretsd.toml"

    def start(self, *arguments: str, idle_s: float = 5.0, stderr: int = subprocess.PIPE) -> None:
        program = str(notify_helper(self.directory))
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-IS", program, "--socket", self.socket_path, "--config", str(self.config)),
                *("--trusted-uid", str(os.geteuid()), "--peer-user", str(os.geteuid())),
                *("--systemctl", self.systemd.systemctl, "--systemd-run", self.systemd.systemd_run),
                *("--idle", str(idle_s), *arguments),
            ],
            stderr=stderr,
            text=True,
        )
        deadline = time.monotonic() + 10
        while not self._listens():
            assert self.process.poll() is None, self.process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def _listens(self) -> bool:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
            try:
                probe.connect(self.socket_path)
            except OSError:
                return False
            return True

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        connection.connect(self.socket_path)
        return connection

    def ask_raw(self, request: bytes) -> dict[str, Any]:
        with self.connect() as connection:
            with contextlib.suppress(BrokenPipeError):
                connection.sendall(request)
            return received(connection)

    def ask(self, **request: object) -> dict[str, Any]:
        return self.ask_raw(json.dumps(request).encode() + b"\n")

    def act(self, bundle: str = "trading-bot", unit: str = UNIT, **more: object) -> dict[str, Any]:
        table = {"operation": "act", "bundle": bundle, "unit": unit, "generation": 7}
        return self.ask(**{**table, "published_monotonic": 100.0, **more})

    def stop(self) -> str:
        """Ends it and returns what it logged."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=10)[1]


def received(connection: socket.socket) -> dict[str, Any]:
    """The one line that comes over `connection`, as a table."""
    reply = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            reply += part
    assert reply.endswith(b"\n"), reply
    table = json.loads(reply)
    assert isinstance(table, dict)
    return table
