"""A Vault on loopback that answers whatever a test wants, lies included."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.refresh.sources.scripted_aws import Answer, send

CREATED = "2026-11-24T13:00:33.924837567Z"


@dataclass(frozen=True)
class Asked:
    """A request: its path below /v1/, its headers, and its JSON."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


Script = Callable[[Asked], Answer]


def said(status: int, document: object, **how: Any) -> Answer:
    return Answer(status, json.dumps(document).encode(), {"Content-Type": "application/json"}, **how)


def refused(status: int, *errors: str) -> Answer:
    return said(status, {"errors": list(errors)})


DENIED = refused(403, "permission denied")


def whole(data: object) -> dict[str, Any]:
    return {"request_id": "fake", "lease_id": "", "renewable": False, "lease_duration": 0, "data": data}


def secret(values: object, version: object = 1, **metadata: object) -> Answer:
    """A secret of KV version 2."""
    about = {"created_time": CREATED, "deletion_time": "", "destroyed": False, "version": version, **metadata}
    return said(200, whole({"data": values, "metadata": about}))


def token(value: str, lease_s: object = 1200, *, renewable: bool = True) -> Answer:
    """What a login or a renewal gives."""
    auth = {"client_token": value, "accessor": "fake", "lease_duration": lease_s, "renewable": renewable}
    return said(200, {**whole(None), "auth": auth})


def known(_: Asked) -> Answer:
    return said(200, whole({"id": "fake"}))


def honest(asked: Asked) -> Answer:
    """Every token is known, every login accepted, and each secret's value names it."""
    if asked.path == "auth/token/lookup-self":
        return known(asked)
    if asked.path == "auth/token/renew-self":
        return token(asked.headers["X-Vault-Token"], 3600)
    if asked.path.startswith("auth/"):
        return token("fake-token-of-a-login")
    return secret({"VALUE": f"fake-value-of-{asked.path.rpartition('/')[2]}"})


class ScriptedVault:
    """Serves `script`, keeps every request; close it."""

    def __init__(self) -> None:
        self.script: Script = honest
        self.requests: list[Asked] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer_in_turn(self, *answers: Answer) -> None:
        """Each answer once; the last one for ever."""
        left = list(answers)
        self.script = lambda asked: left.pop(0) if len(left) > 1 else left[0]

    def paths(self) -> list[str]:
        return [asked.path for asked in self.requests]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        vault = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                path = self.path.removeprefix("/v1/")
                asked = Asked(self.command, path, dict(self.headers), json.loads(content or b"{}"))
                vault.requests.append(asked)
                send(self, vault.script(asked))

            do_POST = do_GET  # noqa: N815 - the base class's name

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        return Handler
