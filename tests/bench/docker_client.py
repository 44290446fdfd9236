"""docker's client as a reader of its env files, without a docker daemon.

The client parses `--env-file` itself and sends the variables to the daemon; here a socket takes the request.
"""

from __future__ import annotations

import json
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Self

_API = "1.44"


class DockerClient:
    """`docker create --env-file FILE`, and the environment that it asks for."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._directory = tempfile.TemporaryDirectory()
        self._socket = Path(self._directory.name, "docker.sock")
        self._server = _Daemon(str(self._socket), _Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._directory.cleanup()

    @property
    def version(self) -> str:
        """As in "docker 28.2.2"."""
        told = subprocess.run([self._program, "--version"], check=True, capture_output=True, text=True).stdout
        return f"docker {told.split()[2].rstrip(',')}"

    def __call__(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        file = Path(self._directory.name, "file")
        file.write_bytes(files[""])
        self._server.asked.clear()
        command = [self._program, "create", "--env-file", str(file), "image"]
        environment = {"DOCKER_HOST": f"unix://{self._socket}", "HOME": self._directory.name}
        ran = subprocess.run(command, check=False, env=environment, capture_output=True, timeout=120)
        if ran.returncode != 0:
            return {}
        (variables,) = self._server.asked
        pairs = (variable.partition("=") for variable in variables)
        return {name: value.encode() for name, _, value in pairs}


class _Daemon(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(path, handler)
        self.asked: list[list[str]] = []


class _Handler(BaseHTTPRequestHandler):
    """As much of the Engine API as `create` asks for."""

    protocol_version = "HTTP/1.1"
    server: _Daemon

    def do_HEAD(self) -> None:
        self._answer(200, {})

    def do_GET(self) -> None:
        self._answer(200, {"ApiVersion": _API, "Os": "linux"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "/containers/create" in self.path:
            self.server.asked.append(json.loads(body)["Env"] or [])
        self._answer(201, {"Id": "0" * 64, "Warnings": []})

    def _answer(self, status: int, document: dict[str, object]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Api-Version", _API)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def address_string(self) -> str:
        return "client"  # a Unix socket's peer has no address

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named as in the base class
        """Says nothing: the values of thousands of variables would be in it."""
