"""The real secretsd-signer on a SoftHSM token, as a process of its own, with keys of the test's own."""

from __future__ import annotations

import contextlib
import os
import pwd
import time
from pathlib import Path
from typing import Any, Self

from secretsd import client
from tests.lab.daemons import DaemonProcess
from tests.signing.http.serving import WITH_THE_TESTS, Client
from tests.signing.softhsm import LABEL, MODULE, make_softhsm

_UP_S = 20.0
ME = pwd.getpwuid(os.getuid()).pw_name


class Daemon:
    """Runs inside `with`; `stop` and `start` make it another process with the same token and sockets."""

    def __init__(self, directory: Path, keys: dict[str, dict[str, Any]], **settings: object) -> None:
        """Keys that do not say otherwise may be used by the user of the tests. None is on the token yet."""
        self.directory = directory
        self.http, self.native = directory / "signer.sock", directory / "signer.seq"
        self.config, self._log = directory / "secretsd.toml", directory / "log"
        softhsm = make_softhsm(directory / "softhsm")
        self._environment = {**os.environ, **softhsm.environment}
        self._table = {
            "module": str(MODULE), "token": LABEL, "pin": f"file:{softhsm.pin_file}",
            "socket": str(self.http), "seqpacket_socket": str(self.native),
            "state_dir": str(directory / "state"), **settings,
        }  # fmt: skip
        self.configure(keys)

    def configure(self, keys: dict[str, dict[str, Any]]) -> None:
        """Writes the configuration, which is read by the next start or reload."""
        lines = ["[signer]", *(f"{name} = {_toml(value)}" for name, value in self._table.items())]
        for name, key in keys.items():
            allowed = {} if key["type"] == "aes256-wrap" else {"allow": [{"user": ME}]}
            lines.append(f"[signer.keys.{name}]")
            lines += [f"{each} = {_toml(value)}" for each, value in {**allowed, **key}.items()]
        self.config.write_text("\n".join(lines) + "\n")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = DaemonProcess(
                "secretsd.signing",
                self.config,
                prefix=WITH_THE_TESTS,
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        until_s = time.monotonic() + _UP_S
        while self.process.poll() is None and time.monotonic() < until_s:
            with contextlib.suppress(OSError):
                if self.admin("GET", "report")["trouble"] is None:
                    return
            time.sleep(0.05)
        raise AssertionError(f"the signer did not start: {self.log()}")

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(timeout=20) == 0, self.log()

    def log(self) -> str:
        return self._log.read_text()

    def admin(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """The data at /v1/secretsd/PATH."""
        status, content, _ = Client(self.http).ask(method, f"/v1/secretsd/{path}", body)
        assert status < 300, content
        data: dict[str, Any] = content["data"]
        return data

    def generate(self, *names: str) -> None:
        for name in names:
            self.admin("POST", f"keys/{name}/generate", {})

    def open_descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def signer(self, timeout_s: float = 5.0) -> client.Signer:
        return client.Signer(str(self.native), timeout_s)


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return f"{{ {', '.join(f'{name} = {_toml(each)}' for name, each in value.items())} }}"
        case _:
            return str(value)
