"""HTTP/1.1 as monitors need it: one GET or HEAD, one answer, and the connection ends. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_HEAD_BYTES = 8192
_LINE = re.compile(rb"([A-Z]{1,16}) (/[\x21-\x7e]*) HTTP/1\.[01]")
_PHRASES = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. `wishes` are the words of its query, without their values; `accepted` its media types."""

    path: str
    wishes: frozenset[str]
    wants_body: bool  # False for HEAD
    accepted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int
    content: bytes
    content_type: str = TEXT


def said(status: int, sentence: str) -> Answer:
    return Answer(status, f"{sentence}\n".encode())


def read(head: bytes) -> Asked | Answer:
    """What the head of a request asks for, or what it is answered because it cannot be.

    Of its headers Accept alone matters here, without its weights; whatever follows the head is not read.
    """
    line, _, headers = head.partition(b"\r\n")
    found = _LINE.fullmatch(line)
    if found is None:
        return said(400, "this is not HTTP/1.1: GET /metrics, /healthz or /readyz")
    method, target = found[1].decode(), found[2].decode()
    if method not in ("GET", "HEAD"):
        return said(405, "only GET and HEAD are served here")
    path, _, query = target.partition("?")
    wishes = frozenset(part.partition("=")[0] for part in query.split("&") if part)
    return Asked(path, wishes, wants_body=method == "GET", accepted=_accepted(headers))


def _accepted(headers: bytes) -> frozenset[str]:
    named = (line.partition(b":") for line in headers.split(b"\r\n"))
    types = [value.decode("latin-1") for name, _, value in named if name.lower() == b"accept"]
    words = (each.partition(";")[0].strip().lower() for each in ",".join(types).split(","))
    return frozenset(word for word in words if word)


def written(answer: Answer, *, with_body: bool = True) -> bytes:
    """The answer as it is sent."""
    lines = [
        f"HTTP/1.1 {answer.status} {_PHRASES[answer.status]}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.content)}",
        "Cache-Control: no-store",
        "Connection: close",
        *(["Allow: GET, HEAD"] if answer.status == 405 else []),
    ]
    head = "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
    return head + answer.content if with_body else head
