from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretsd.errors import UsageError
from secretsd.model import UnitReport
from secretsd.notify.protocol import (
    MAX_REPLY_BYTES,
    MAX_REQUEST_BYTES,
    ActRequest,
    BeforeRequest,
    ConfirmRequest,
    LookRequest,
    Request,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
    one_line,
)

ACT = ActRequest("trading-bot", "trading-bot.service", 7, 123.456789)
LOOK = LookRequest("trading-bot", "trading-bot.service", 7, 123.456789)
BEFORE = BeforeRequest("trading-bot", "trading-bot.service", 7)
CONFIRM = ConfirmRequest("trading-bot", "trading-bot.service", "0" * 31 + "a", 123.5)


def line(**changes: object) -> bytes:
    table = {
        "operation": "act",
        "bundle": "b",
        "unit": "u.service",
        "generation": 1,
        "published_monotonic": 1.5,
    }
    return json.dumps({**table, **changes}).encode() + b"\n"


@pytest.mark.parametrize("request_", [ACT, LOOK, BEFORE, CONFIRM, ConfirmRequest("b", "u.service", "f" * 32)])
def test_a_request_comes_back_as_it_went(request_: Request) -> None:
    assert decode_request(encode_request(request_)) == request_


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": "start"},
        {"operation": ["act"]},
        {"action": "restart"},
        {"signal": "SIGKILL"},
        {"bundle": ""},
        {"bundle": None},
        {"unit": "x" * 256},
        {"unit": "a b.service"},
        {"unit": "a\n<0>forged.service"},
        {"unit": "a\x1b[2J.service"},
        {"unit": "ü.service"},
        {"unit": "\ud800.service"},
        {"generation": True},
        {"generation": -1},
        {"generation": 2**63},
        {"generation": 1.0},
        {"published_monotonic": True},
        {"published_monotonic": float("nan")},
        {"published_monotonic": float("inf")},
        {"published_monotonic": -0.1},
        {"published_monotonic": 10**400},
        {"published_monotonic": "1"},
    ],
)
def test_what_a_daemon_in_the_wrong_hands_might_send_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        decode_request(line(**changes))


@pytest.mark.parametrize("extra", [{"command": ["/bin/sh"]}, {"owner": "root"}, {"before_timeout": "1h"}])
def test_a_request_says_nothing_of_what_is_run(extra: dict[str, object]) -> None:
    table = {"operation": "before", "bundle": "b", "unit": "u.service", "generation": 1}
    assert decode_request(json.dumps(table).encode()) == BeforeRequest("b", "u.service", 1)
    with pytest.raises(UsageError):
        decode_request(json.dumps({**table, **extra}).encode())


@pytest.mark.parametrize("invocation", ["", "A" * 32, "0" * 31, "0" * 33, None, 5])
def test_an_invocation_that_is_none_is_refused(invocation: object) -> None:
    request = {"operation": "confirm", "bundle": "b", "unit": "u.service", "invocation": invocation}
    with pytest.raises(UsageError):
        decode_request(json.dumps(request).encode())


@pytest.mark.parametrize("text", [b"", b"\n", b"null", b"[]", b'"act"', b"{", b"\xff\xfe", b"[" * 4000])
def test_what_is_not_a_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(UsageError):
        decode_request(text)


def test_a_request_over_the_limit_is_refused_unparsed() -> None:
    with pytest.raises(UsageError, match="longer than"):
        decode_request(line() + b" " * MAX_REQUEST_BYTES)


@given(st.data())
def test_no_mutation_of_a_request_is_more_than_a_usage_error(data: st.DataObject) -> None:
    mutated = bytearray(encode_request(ACT))
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UsageError):
        decode_request(bytes(mutated))


@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_a_usage_error(text: bytes) -> None:
    with contextlib.suppress(UsageError):
        decode_request(text)
    with contextlib.suppress(UsageError):
        decode_reply(text)


@given(st.text(), st.text())
def test_a_reply_is_one_line_below_its_limit_whatever_systemd_said(message: str, advice: str) -> None:
    text = encode_reply(UnitReport("failed", message * 100, advice * 100), code="x")
    assert text.count(b"\n") == 1
    assert len(text) < MAX_REPLY_BYTES
    assert decode_reply(text).outcome == "failed"


def test_a_reply_comes_back_as_it_went() -> None:
    report = UnitReport("acted", "fertig, schön", "", invocation="a" * 32, main_pid=4711)
    assert decode_reply(encode_reply(report)) == report


@pytest.mark.parametrize(
    "reply",
    [
        b"{}",
        b'{"outcome":"done"}',
        b'{"outcome":"acted","main_pid":true}',
        b'{"outcome":"acted","message":1}',
    ],
)
def test_a_reply_of_another_program_is_refused(reply: bytes) -> None:
    with pytest.raises(UsageError):
        decode_reply(reply)


def test_one_line_has_no_control_characters_and_keeps_its_limit() -> None:
    assert one_line("Job failed.\nSee\t\x1b[1mmore\x00", max_chars=300) == "Job failed. See [1mmore"
    assert one_line("x" * 400, max_chars=300) == "x" * 297 + "..."
