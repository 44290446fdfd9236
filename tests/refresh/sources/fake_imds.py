"""An instance metadata service, version 2 only, on loopback."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROLE_PATH = "/latest/meta-data/iam/security-credentials/"


class FakeImds:
    """Hands out a role's credentials.

    `mode` is "up", "down" (500), "role-down" or "keys-down" (500 at that step only), "hang", "keys-hang",
    "no-role" or "garbled".
    """

    def __init__(self, *, lifetime_s: float = 6 * 3600.0) -> None:
        self.mode = "up"
        self.expires_at = float(int(time.time() + lifetime_s))
        self.requests: list[tuple[str, str, bool]] = []  # method, path, whether it carried the token
        self._closed = threading.Event()
        imds = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                imds._answer(self, "fake-imds-token")

            def do_GET(self) -> None:
                if self.path == ROLE_PATH:
                    imds._answer(self, "bot-role")
                else:
                    imds._answer(self, json.dumps(imds._credentials()))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _credentials(self) -> dict[str, str]:
        return {
            "Code": "Success",
            "AccessKeyId": "FAKE-ROLE-KEY",
            "SecretAccessKey": "fake-role-secret-MARKER",
            "Token": "fake-role-token-MARKER",
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.expires_at)),
        }

    def _answer(self, handler: BaseHTTPRequestHandler, text: str) -> None:
        has_token = handler.headers.get("x-aws-ec2-metadata-token") == "fake-imds-token"
        self.requests.append((handler.command, handler.path, has_token))
        step = "token" if handler.command == "PUT" else "role" if handler.path == ROLE_PATH else "keys"
        if self.mode in ("hang", f"{step}-hang"):
            self._closed.wait(8.0)
        if self.mode == "garbled":
            text = text[: len(text) // 2]
        allowed = handler.command == "PUT" or has_token
        status = 500 if self.mode in ("down", f"{step}-down") else 200 if allowed else 401
        if self.mode == "no-role" and step == "role":
            status = 404
        body = text.encode() if status == 200 else b""
        with contextlib.suppress(OSError):  # the client gave up
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
