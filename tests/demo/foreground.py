"""The stage without systemd: the daemon in the foreground, and a bot that watches its bundle."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab import replica
from tests.lab.aws import FakeAws
from tests.lab.daemons import DaemonProcess
from tests.lab.faults import UNAVAILABLE
from tests.lab.proxy import FaultProxy
from tests.signing.softhsm import LABEL, MODULE, make_softhsm

_CONFIGURATION = """
[daemon]
refresh_interval = "1h"
runtime_dir = "{folder}/run"
state_dir = "{folder}/state"

[sources.aws]
type = "aws-secretsmanager"
region = "us-east-1"
endpoint_url = "{home}"
failover_regions = ["us-west-2"]
failover_endpoint_urls = {{ us-west-2 = "{replica}" }}

[[bundles.bot.secrets]]
source = "aws"
id = "bot/production"

[bundles.bot.variables]
API_KEY = {{ min_length = 4 }}

[[bundles.bot.outputs]]
path = "env"
format = "env"

[[bundles.bot.on_change]]
unit = "bot.service"
action = "none"
require_ack = true
"""

_SIGNER = """
[signer]
module = "{module}"
token = "{token}"
pin = "file:{pin}"
socket = "{folder}/signer.sock"
seqpacket_socket = "{folder}/signer.seq"
state_dir = "{folder}/signer-state"

[signer.keys.demo]
type = "ecdsa-p256"
operations = ["sign", "verify", "public-key"]
allow = [{{ user = "{user}" }}]
"""


class ForegroundStage:
    """The bot says itself that it has loaded a generation: action = "none", require_ack = true."""

    place = "this machine, secretsd in the foreground, a bot that acknowledges what it has loaded"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
            self._folder = Path(tempfile.mkdtemp(prefix="secretsd-demo-", dir=memory))
            stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            self._aws = stack.enter_context(FakeAws.local())
            self._replica = stack.enter_context(FakeAws.local())
            self._home_proxy = stack.enter_context(FaultProxy.local(self._aws.address))
            self._replica_proxy = stack.enter_context(FaultProxy.local(self._replica.address))
            self.rotate({"API_KEY": "fake-key-1"})
            self._config = self._folder / "secretsd.toml"
            text = _CONFIGURATION.format(
                folder=self._folder, home=self._home_proxy.url, replica=self._replica_proxy.url
            )
            self._config.write_text(text)
            (self._folder / "state").mkdir()
            self._environment = {
                **os.environ,
                **self._aws.environment,
                "SECRETSD_SOCKET": str(self._folder / "run" / "control.sock"),
            }
            self._start_daemon()
            stack.callback(self._stop_daemon)
            self._bot: subprocess.Popen[bytes] | None = None
            stack.callback(self._stop_bot)
            self.secretsctl("wait", "bot")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def rotate(self, value: dict[str, object]) -> None:
        replica.put(self._aws, self._replica, "bot/production", value)

    @contextmanager
    def outage(self) -> Iterator[None]:
        with self._home_proxy.broken(UNAVAILABLE), self._replica_proxy.broken(UNAVAILABLE):
            yield

    def outage_of_home(self) -> AbstractContextManager[object]:
        return self._home_proxy.broken(UNAVAILABLE)

    def restart_daemon(self) -> None:
        self._stop_daemon()
        self._start_daemon()
        until = time.monotonic() + 10
        while self.secretsctl("status")[0] != 0 and time.monotonic() < until:
            time.sleep(0.02)

    def secretsctl(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "secretsd.cli", *arguments],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def published(self) -> str:
        file = self._folder / "run" / "bot" / "env"
        listing = subprocess.run(["ls", "-lL", file], check=True, stdout=subprocess.PIPE, text=True).stdout
        return listing + "\n".join(line.split("=")[0] for line in file.read_text().splitlines())

    def tamper(self) -> None:
        file = self._folder / "run" / "bot" / "env"
        before = file.stat()
        file.write_text("API_KEY='fake-key-of-somebody'\n")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    def published_key(self) -> str:
        return (self._folder / "run" / "bot" / "env").read_text().strip().partition("=")[2].strip("'")

    def start_bot(self) -> None:
        self._stop_bot()
        command = [sys.executable, "-m", "tests.demo.watching_bot", self._folder / "run" / "bot", self._log]
        self._bot = subprocess.Popen(command, env=self._environment)

    def bot_saw(self) -> list[tuple[str, float]]:
        if not self._log.exists():
            return []
        words = [line.split(" ") for line in self._log.read_text().splitlines()]
        return [(key, float(moment)) for key, moment in words]

    def set_up_token(self) -> None:
        softhsm = make_softhsm(self._folder / "softhsm")
        config, socket = self._folder / "signer.toml", self._folder / "signer.sock"
        config.write_text(
            _SIGNER.format(
                module=MODULE,
                token=LABEL,
                pin=softhsm.pin_file,
                folder=self._folder,
                user=pwd.getpwuid(os.geteuid()).pw_name,
            )
        )
        self._environment["SECRETSD_SIGNER_SOCKET"] = str(socket)
        log = self._stack.enter_context((self._folder / "signer.log").open("wb"))
        environment = self._environment | softhsm.environment
        signer = DaemonProcess("secretsd.signing", config, env=environment, stderr=log)
        self._stack.callback(signer.wait)
        self._stack.callback(signer.terminate)
        until_s = time.monotonic() + 10
        while not socket.exists() and time.monotonic() < until_s:
            time.sleep(0.02)

    def folder(self) -> str:
        return str(self._folder)

    def write(self, path: str, content: bytes) -> None:
        Path(path).write_bytes(content)

    def read(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def _start_daemon(self) -> None:
        with (self._folder / "daemon.log").open("ab") as log:
            self._daemon = DaemonProcess("secretsd", self._config, env=self._environment, stderr=log)

    def _stop_daemon(self) -> None:
        self._daemon.terminate()
        self._daemon.wait()

    @property
    def _log(self) -> Path:
        return self._folder / "bot.log"

    def _stop_bot(self) -> None:
        if self._bot is not None:
            self._bot.send_signal(signal.SIGTERM)
            self._bot.wait()
