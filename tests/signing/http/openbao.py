"""A development server of OpenBao with Transit: what our answers are compared with."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.signing.http.fake_desk import KEYS
from tests.signing.http.serving import WITH_THE_TESTS

BAO = Path(sys.executable).parent / "bao"
TOKEN = "fake-root-token"
_UP_S = 30.0


@dataclass(frozen=True)
class OpenBao:
    port: int

    @classmethod
    @contextlib.contextmanager
    def running(cls, directory: Path) -> Iterator[OpenBao]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [
            *WITH_THE_TESTS,
            BAO,
            "server",
            "-dev",
            "-dev-no-store-token",
            f"-dev-root-token-id={TOKEN}",
        ]
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [*command, f"-dev-root-token-id={TOKEN}", f"-dev-listen-address=127.0.0.1:{port}"],
                stdout=log,
                stderr=log,
                env={**os.environ, "HOME": str(directory)},
            )
        try:
            server = cls(port)
            server._wait()
            server.ask("POST", "/v1/sys/mounts/transit", {"type": "transit"})
            for name in KEYS:
                size = {"key_size": 32} if name == "hmac" else {}
                server.ask("POST", f"/v1/transit/keys/{name}", {"type": name, **size})
            yield server
        finally:
            process.terminate()
            process.wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + _UP_S
        while True:
            with contextlib.suppress(OSError):
                if self.ask("GET", "/v1/sys/health")[0] == 200:
                    return
            assert time.monotonic() < deadline, "OpenBao did not start"
            time.sleep(0.1)

    def ask(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, JSON and headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, data, {"X-Vault-Token": TOKEN, **(headers or {})})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, json.loads(content or b"{}"), dict(response.getheaders())
