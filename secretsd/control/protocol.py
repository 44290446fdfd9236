"""The control socket's wire format, version 1.

Request: one line, a JSON object {"command": ..., "bundle": ..., ...}, at most 4 KiB.
Answer: one line "CODE MESSAGE" (CODE is the exit code that the client ends with; MESSAGE may be empty),
then, up to the end of the stream, a JSON object. The first line exists so that `secretsctl wait`, which
stands before every start of a bot, need not load a JSON parser.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from secretsd.errors import ExitCode, UsageError

MAX_REQUEST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Reply:
    """What a command came to."""

    code: ExitCode = ExitCode.OK
    message: str = ""
    body: dict[str, object] = field(default_factory=dict)


def encode_reply(reply: Reply) -> bytes:
    message = " ".join(reply.message.split())
    return f"{int(reply.code)} {message}\n{json.dumps(reply.body)}\n".encode()


def decode_reply(data: bytes) -> Reply:
    """Raises: ValueError for anything that is no whole answer."""
    head, _, body = data.partition(b"\n")
    code, _, message = head.decode().partition(" ")
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError("the answer's body is no object")
    return Reply(ExitCode(int(code)), message, document)


def decode_request(line: bytes) -> dict[str, object]:
    """Raises: UsageError."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise UsageError("the request is not a line of JSON") from None
    if not isinstance(request, dict) or not isinstance(request.get("command"), str):
        raise UsageError("the request names no command")
    return request
