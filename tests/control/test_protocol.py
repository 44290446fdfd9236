from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretsd.control.protocol import Reply, decode_reply, decode_request, encode_reply
from secretsd.errors import ExitCode, UsageError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@given(st.sampled_from(ExitCode), st.text(), st.dictionaries(st.text(), VALUES))
def test_an_answer_is_one_line_for_shells_and_the_rest_for_programs(
    code: ExitCode, message: str, body: dict[str, object]
) -> None:
    with contextlib.suppress(UnicodeEncodeError):  # half a surrogate pair: no message of ours has one
        message.encode()
        data = encode_reply(Reply(code, message, body))
        first = data.split(b"\n")[0].decode()
        assert first == f"{int(code)} {' '.join(message.split())}"
        assert decode_reply(data) == Reply(code, " ".join(message.split()), body)


def test_a_message_of_many_lines_cannot_pass_for_an_answer() -> None:
    data = encode_reply(Reply(ExitCode.CONFIG, "bad\n0 all is well\n{}"))
    assert data.split(b"\n")[0] == b"78 bad 0 all is well {}"
    assert decode_reply(data).code is ExitCode.CONFIG


@pytest.mark.parametrize(
    "data", [b"", b"0", b"0 \n", b"0 \n{", b"0 \n[]", b"x \n{}", b"3 \n{}", b"\n{}", b"\xff \n{}"]
)
def test_half_an_answer_is_no_answer(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        decode_reply(data)


@pytest.mark.parametrize(
    "request_line",
    [
        b"",
        b"status",
        b"{",
        b"null",
        b"[]",
        b'"status"',
        b"{}",
        b'{"command": null}',
        b'{"command": 3}',
        b'{"command": ["status"]}',
        b"\xff\xfe",
        b"[" * 4000,
        b'{"a":' * 800,
    ],
)
def test_what_is_no_request_is_refused_and_never_a_crash(request_line: bytes) -> None:
    with pytest.raises(UsageError):
        decode_request(request_line)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_daemon(request_line: bytes) -> None:
    with contextlib.suppress(UsageError):
        decode_request(request_line)


def test_a_request_comes_through_as_it_is() -> None:
    request = {"command": "wait", "bundle": "bot", "timeout": "5s"}
    assert decode_request(json.dumps(request).encode()) == request
