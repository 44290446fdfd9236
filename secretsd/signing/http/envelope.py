"""What goes out: Transit's envelope around data, its shape of errors, the bytes of an HTTP answer. Pure."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from secretsd.signing.errors import SigningError, too_many_connections

_ENCODE = json.JSONEncoder(separators=(",", ":")).encode
_NUMBERS = itertools.count(1)
_RETRY_AFTER_S = {"rate-limited": 1, "too-many-requests": 1, "queue-full": 1, "stopping": 1, "token-busy": 5}
_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_HEAD = b"Content-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: %d\r\n"
_HEAD_200 = _STATUS_LINES[200] + _HEAD + b"\r\n"
_AFTER_DATA = '"wrap_info":null,"warnings":%s,"auth":null}\n'
_AFTER_DATA_UNWARNED = _AFTER_DATA % "null"


class Response(NamedTuple):
    """An answer before it is laid out. `headers` are whole lines, each with its end."""

    status: int
    body: bytes
    headers: bytes = b""


def data(content: Mapping[str, Any], *, status: int = 200, warnings: Sequence[str] = ()) -> Response:
    """`content` in the envelope. Its request_id counts the answers of this process."""
    number = next(_NUMBERS)
    after = _AFTER_DATA % _ENCODE(warnings) if warnings else _AFTER_DATA_UNWARNED
    return Response(
        status,
        (
            f'{{"request_id":"00000000-0000-0000-{number >> 48 & 0xFFFF:04x}-{number & 0xFFFFFFFFFFFF:012x}",'
            f'"lease_id":"","renewable":false,"lease_duration":0,"data":{_ENCODE(content)},{after}'
        ).encode(),
    )


def bare(content: Mapping[str, Any], *, status: int = 200) -> Response:
    """Without the envelope, as the paths below sys/ have it."""
    return Response(status, _ENCODE(content).encode() + b"\n")


def error(problem: SigningError, *, status: int | None = None) -> Response:
    """The sentence where Transit has its own; our word for it in a header."""
    headers = f"X-Secretsd-Error: {problem.code}\r\n"
    if problem.code in _RETRY_AFTER_S:
        headers += f"Retry-After: {_RETRY_AFTER_S[problem.code]}\r\n"
    body = _ENCODE({"errors": [problem.sentence]}).encode() + b"\n"
    return Response(status or problem.kind.http_status, body, headers.encode())


def layout(response: Response, *, closes: bool = False, without_body: bool = False) -> bytes:
    """The bytes to send. `without_body` is for HEAD, whose Content-Length is that of GET."""
    status, body, headers = response
    if status == 200 and not (closes or headers or without_body):
        return _HEAD_200 % len(body) + body
    line = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n".encode()
    end = b"Connection: close\r\n\r\n" if closes else b"\r\n"
    return line + _HEAD % len(body) + headers + end + (b"" if without_body else body)


# What a client gets that is let in no more.
TURNED_AWAY = layout(error(too_many_connections()), closes=True)
