"""A Secrets Manager and a Parameter Store on loopback that answers whatever a test wants, lies included."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ACCOUNT = "arn:aws:secretsmanager:us-east-1:123456789012:secret:"
VERSION = "11111111-2222-4333-8444-555555555555"


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; `declared_length` of None is the true length, `sent` of None is all of the body."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    declared_length: int | None = None
    sent: int | None = None
    delay_s: float = 0.0
    reset: bool = False


Request = tuple[str, dict[str, Any]]  # operation and parameters
Script = Callable[[str, dict[str, Any]], Answer]


def ok(body: object, **how: Any) -> Answer:
    return Answer(200, json.dumps(body).encode(), **how)


def error(code: str, message: str = "", *, status: int = 400, **how: Any) -> Answer:
    return Answer(status, json.dumps({"__type": code, "message": message}).encode(), **how)


def arn(name: str) -> str:
    return f"{ACCOUNT}{name}-AbC12x"


def entry(name: str, text: str | None = None, **changes: Any) -> dict[str, Any]:
    """A value as Secrets Manager shows it; a change to None removes the field."""
    whole = {
        "ARN": arn(name),
        "Name": name,
        "VersionId": VERSION,
        "SecretString": f"fake-value-of-{name}" if text is None else text,
        "VersionStages": ["AWSCURRENT"],
        "CreatedDate": 1_700_000_000.0,
    }
    return {key: value for key, value in {**whole, **changes}.items() if value is not None}


def parameter(name: str, text: str | None = None, **changes: Any) -> dict[str, Any]:
    """A parameter as the Parameter Store shows it, with its selector; a change to None removes the field."""
    bare, selector = split_selector(name)
    whole = {
        "ARN": f"arn:aws:ssm:us-east-1:123456789012:parameter/{bare.lstrip('/')}",
        "Name": bare,
        "Type": "SecureString",
        "Value": f"fake-value-of-{name}" if text is None else text,
        "Version": int(selector) if selector.isdigit() else 7,
        "Selector": f":{selector}" if selector else None,
        "LastModifiedDate": 1_700_000_000.0,
        "DataType": "text",
    }
    return {key: value for key, value in {**whole, **changes}.items() if value is not None}


def split_selector(name: str) -> tuple[str, str]:
    """What is asked for, and at which version or label: "a:3" is ("a", "3"); an ARN has colons of its own."""
    head, colon, tail = name.rpartition(":")
    return (name, "") if not colon or "/" in tail else (head, tail)


def honest(operation: str, params: dict[str, Any]) -> Answer:
    """Every secret exists and its value names it."""
    if operation == "GetParameters":
        return ok({"Parameters": [parameter(name) for name in params["Names"]], "InvalidParameters": []})
    if operation == "BatchGetSecretValue":
        return ok({"SecretValues": [entry(name) for name in params["SecretIdList"]], "Errors": []})
    return ok(entry(params["SecretId"], VersionStages=[params.get("VersionStage", "AWSCURRENT")]))


class ScriptedAws:
    """Serves `script`, keeps every request; close it."""

    def __init__(self) -> None:
        self.script: Script = honest
        self.requests: list[Request] = []
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
        self.script = lambda operation, params: left.pop(0) if len(left) > 1 else left[0]

    def operations(self) -> list[str]:
        return [operation for operation, _ in self.requests]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        aws = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                params = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                operation = self.headers["X-Amz-Target"].rpartition(".")[2]
                aws.requests.append((operation, params))
                send(self, aws.script(operation, params))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        return Handler


def send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    handler.close_connection = True
    if answer.reset:
        linger = struct.pack("ii", 1, 0)  # close() then sends RST
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.connection.close()
        return
    if answer.delay_s:
        threading.Event().wait(answer.delay_s)
    length = len(answer.body) if answer.declared_length is None else answer.declared_length
    head = [f"HTTP/1.1 {answer.status} X", f"Content-Length: {length}", "Connection: close"]
    head += [f"{name}: {value}" for name, value in answer.headers.items()]
    raw = "\r\n".join(head).encode() + b"\r\n\r\n" + answer.body[: answer.sent]
    with contextlib.suppress(OSError):  # the client gave up
        handler.wfile.write(raw)
