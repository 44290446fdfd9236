"""A signer's HTTP socket that answers as a test wants it, and notes what it was asked."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self

from secretsd.signing.errors import SigningError
from secretsd.signing.http import envelope
from tests.cli.documents import SIGNER

Asked = tuple[str, str, Any]  # method, path, JSON of the body
Answer = Callable[[Asked], dict[str, Any] | SigningError | bytes]


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


class FakeSigner:
    """Answers every request with what `answer` makes of it, in threads of its own."""

    def __init__(self, path: Path, answer: Answer | None = None) -> None:
        self.path = path
        self.asked: list[Asked] = []
        self.answer: Answer = answer or canned

    def __enter__(self) -> Self:
        signer = self

        class Handler(BaseHTTPRequestHandler):
            def address_string(self) -> str:
                return "unix"

            def log_message(self, *_: object) -> None:
                """Nothing."""

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = (self.command, self.path, json.loads(body or b"null"))
                signer.asked.append(asked)
                answer = signer.answer(asked)
                if isinstance(answer, SigningError):
                    answer = envelope.layout(envelope.error(answer), closes=True)
                elif isinstance(answer, dict):
                    answer = envelope.layout(envelope.data(answer), closes=True)
                self.wfile.write(answer)
                self.close_connection = True

            do_POST = do_GET  # noqa: N815 - its base looks for this name

        self._server = _Server(str(self.path), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def canned(asked: Asked) -> dict[str, Any] | SigningError:
    """The documents of tests.cli.documents."""
    _, path, body = asked
    if path.endswith("/unwrap") and "request_id" in body:
        return SIGNER["/v1/secretsd/keys/cold/generate"]
    found = SIGNER.get(path)
    if found is None:
        return SigningError("unknown-key", "there is no key of this name", advice="see secretsctl keys list")
    return found
