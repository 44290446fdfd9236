"""A webhook and a mail server on this machine's loopback, as small as they can be."""

from __future__ import annotations

import http.server
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Sink:
    """What came, and where it is to be sent."""

    url: str
    heard: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    status: int = 200


@contextmanager
def webhook() -> Iterator[Sink]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sink.heard.append(self.rfile.read(int(self.headers["Content-Length"])))
            sink.paths.append(self.path)
            self.send_response(sink.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        sink = Sink(f"http://127.0.0.1:{server.server_port}/services/fake-webhook-path")
        yield from _served(server, sink)


@contextmanager
def mail_server() -> Iterator[Sink]:
    """Speaks RFC 5321 as far as one client needs it; envelope lines go to `paths`."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say(b"220 sink")
            while line := self.rfile.readline():
                verb = line[:4].upper()
                if verb in (b"MAIL", b"RCPT"):
                    sink.paths.append(line.decode().strip())
                if verb == b"DATA":
                    self.say(b"354 go on")
                    sink.heard.append(b"".join(iter(self.rfile.readline, b".\r\n")))
                self.say(b"221 bye" if verb == b"QUIT" else b"250 ok")

        def say(self, line: bytes) -> None:
            self.wfile.write(line + b"\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        sink = Sink(f"smtp://127.0.0.1:{server.server_address[1]}")
        yield from _served(server, sink)


def _served(server: socketserver.BaseServer, sink: Sink) -> Iterator[Sink]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield sink
    finally:
        server.shutdown()
        thread.join()
