"""A small threaded HTTP server on a given network, whose answers may be as broken as a test needs."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.lab.network import Address, Network

# Closing with this option set sends RST instead of FIN (socket(7), SO_LINGER).
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Handler(http.server.BaseHTTPRequestHandler):
    """A connection; subclasses answer requests with `reply` or write to `wfile` themselves."""

    protocol_version = "HTTP/1.1"
    # Small answers in two writes would otherwise wait for the client's delayed acknowledgement (40 ms).
    disable_nagle_algorithm = True

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """A whole and honest answer."""
        self.begin(status, headers or {}, content_length=len(body))
        self.wfile.write(body)

    def begin(self, status: int, headers: dict[str, str], *, content_length: int) -> None:
        """Status line and headers; the body is the caller's affair."""
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Date" not in headers:
            self.send_header("Date", self.date_time_string())
        self.send_header("Content-Length", str(content_length))
        self.end_headers()

    def request_body(self) -> bytes:
        """The request's body, all of it."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def reset(self) -> None:
        """Ends the connection with RST as soon as the handler returns."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close_connection = True

    def handle(self) -> None:
        # A client that goes away in the middle, or at the certificate, is what half of the tests do.
        with contextlib.suppress(ConnectionError, TimeoutError, ssl.SSLError):
            if isinstance(self.connection, ssl.SSLSocket):
                self.connection.do_handshake()
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: a request's path is the test's business, its output is not."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, listener: socket.socket, handler: type[Handler], tls: Callable[[], ssl.SSLContext | None]
    ) -> None:
        super().__init__(listener.getsockname()[:2], handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        assert isinstance(request, socket.socket)
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        if (context := self._tls()) is not None:
            # The handshake is for the connection's own thread: it may never end.
            connection = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def hang_up(self) -> None:
        """Ends every connection."""
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        # No shutdown(2) first, as the base class does: it sends FIN, and no RST could follow.
        assert isinstance(request, socket.socket)
        with self._open_lock:
            self._open.discard(request)
        self.close_request(request)


class Httpd:
    """Serves `handler` at `address` of `network`; can be stopped (connection refused) and started again.

    `tls` gives the context of each new connection; None for plain HTTP.
    """

    def __init__(
        self,
        network: Network,
        address: Address,
        handler: type[Handler],
        *,
        tls: Callable[[], ssl.SSLContext | None] = lambda: None,
    ) -> None:
        self._network = network
        self._tls = tls
        self._handler = handler
        self.address = address
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listens; a port of 0 becomes a free one and stays it. Does nothing when it already serves."""
        if self._server is not None:
            return
        listener = self._network.listen(self.address)
        self.address = listener.getsockname()[:2]
        server = _Server(listener, self._handler, self._tls)
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self._server = server

    def stop(self) -> None:
        """Stops listening and ends the connections under way."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()
        self._thread.join()
        self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
