"""The HTTP side on a Unix socket, in a thread of the test."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvloop

from secretsd.signing.http.connection import HttpConnection
from secretsd.signing.http.routes import Routes
from tests.signing.http.fake_desk import CALLER

# Before a command of a fixture: it ends with the tests, also where they were killed.
WITH_THE_TESTS = ("setpriv", "--pdeathsig", "TERM", "--")


class Client:
    """Asks whoever listens at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(10)
        client.connect(str(self.path))
        return client

    def ask(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, JSON and headers, over a connection of its own."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = self.connect()
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, data, headers or {})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, json.loads(content or b"{}"), dict(response.getheaders())


class Served(Client):
    """`connections` are those that the server has not seen the end of."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(path)
        self.connections: set[HttpConnection] = set()
        self.failures: list[str] = []
        self.loop = loop


@contextlib.contextmanager
def serving(
    routes: Routes, path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
) -> Iterator[Served]:
    """Fails where the loop has seen an exception that nobody caught."""
    served = Served(path, new_loop())
    served.loop.set_exception_handler(lambda _, context: served.failures.append(str(context)))

    def made() -> HttpConnection:
        connection = HttpConnection(routes, CALLER, lambda: served.connections.discard(connection))
        served.connections.add(connection)
        return connection

    server = served.loop.run_until_complete(served.loop.create_unix_server(made, str(path)))
    thread = threading.Thread(target=served.loop.run_forever)
    thread.start()
    try:
        yield served
    finally:
        served.loop.call_soon_threadsafe(server.close)
        served.loop.call_soon_threadsafe(served.loop.stop)
        thread.join()
        served.loop.close()
    assert served.failures == []
