"""What a request may look like, and what goes back, byte for byte."""

from __future__ import annotations

import pytest

from secretsd.monitor.http import Answer, Asked, read, said, written


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("GET /metrics HTTP/1.1", Asked("/metrics", frozenset(), wants_body=True)),
        ("GET /readyz?verbose HTTP/1.0", Asked("/readyz", frozenset({"verbose"}), wants_body=True)),
        ("HEAD /x?json=1&verbose& HTTP/1.1", Asked("/x", frozenset({"json", "verbose"}), wants_body=False)),
        ("GET /%2e%2e/x HTTP/1.1", Asked("/%2e%2e/x", frozenset(), wants_body=True)),
    ],
)  # fmt: skip
def test_what_is_asked_for(line: str, asked: Asked) -> None:
    assert read(f"{line}\r\nHost: x\r\n\r\n".encode()) == asked


def test_what_is_accepted_is_read_from_all_such_headers() -> None:
    asked = read(
        b"GET / HTTP/1.1\r\naccept:A/b; q=0.5,\ttext/plain\r\nX: c/d\r\nACCEPT: e/f\r\nAccept\r\n\r\n"
    )
    assert isinstance(asked, Asked)
    assert asked.accepted == {"a/b", "text/plain", "e/f"}


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics HTTP/2\r\n\r\n", 400),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", 400),
        (b"get /metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET /\x1b[2J HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"DELETE /readyz HTTP/1.1\r\n\r\n", 405),
    ],
)
def test_what_is_no_request_is_answered_with_a_sentence(head: bytes, status: int) -> None:
    answer = read(head)
    assert isinstance(answer, Answer)
    assert answer.status == status
    assert answer.content.endswith(b"\n")


def test_an_answer_is_whole_and_ends_the_connection() -> None:
    assert written(said(200, "ok")).split(b"\r\n") == [
        b"HTTP/1.1 200 OK",
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: 3",
        b"Cache-Control: no-store",
        b"Connection: close",
        b"",
        b"ok\n",
    ]
    assert written(said(200, "ok"), with_body=False) == written(said(200, "ok")).removesuffix(b"ok\n")
    assert b"\r\nAllow: GET, HEAD\r\n" in written(said(405, "no"))
