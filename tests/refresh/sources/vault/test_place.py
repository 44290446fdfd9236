"""A token or a secret id stands where somebody else has put it: what else can stand there."""

import os
from pathlib import Path

import pytest

from secretsd.refresh.sources.faults import CallFailedError
from secretsd.refresh.sources.vault.place import read_place


def test_what_an_agent_writes_for_a_group_is_read_without_its_line_end(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("fake-token\r\n")
    token.chmod(0o640)
    assert read_place(f"file:{token}") == "fake-token"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "it cannot be read: No such file or directory"),
        (b"\n", "it is empty or not text"),
        (b"fake\nX-Forged: header", "it is empty or not text"),
        ("fäke".encode(), "it is empty or not text"),
        (b"f" * 16_385, "it is longer than 16384 bytes"),
    ],
)
def test_what_is_no_token_is_refused_in_words_that_quote_nothing(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(CallFailedError) as raised:
        read_place(f"file:{tmp_path / 'token'}")
    assert (raised.value.fault.code, raised.value.fault.detail) == ("no-credentials", why)


def test_a_pipe_in_its_place_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")
    with pytest.raises(CallFailedError) as raised:
        read_place(f"file:{tmp_path / 'token'}")
    assert raised.value.fault.detail == "it is no file"
