"""What both clients make of a daemon that is away, closed to them, or ends in the middle of its answer."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from secretsd.cli import fast
from secretsd.control import client
from secretsd.errors import SecretsdError

NOBODY = 65534
Ask = Callable[[Path], int]


def wait(path: Path, **options: object) -> int:
    return fast.wait("bot", socket=str(path), **{"timeout": "100ms", **options})  # type: ignore[arg-type]


def status(path: Path) -> int:
    try:
        return client.ask(str(path), {"command": "status"}, timeout_s=5.0).code
    except SecretsdError as error:
        return error.exit_code


both_clients = pytest.mark.parametrize("ask", [wait, status])


@contextmanager
def daemon(path: Path, answer: bytes) -> Iterator[None]:
    """Answers every connection with `answer`, and closes it."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                connection, _ = listener.accept()
                with connection:
                    if not connection.recv(4096):
                        return
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(path))
        thread.join()


@both_clients
@pytest.mark.parametrize("answer", [b"", b"7", b"75", b"0 bot is publ", b"Traceback"])
def test_an_answer_that_was_cut_off_is_to_be_tried_again_and_no_code_is_read_from_its_half(
    tmp_path: Path, ask: Ask, answer: bytes
) -> None:
    with daemon(tmp_path / "control.sock", answer):
        assert ask(tmp_path / "control.sock") == 75


@both_clients
def test_a_whole_answer_counts(tmp_path: Path, ask: Ask) -> None:
    with daemon(tmp_path / "control.sock", b"69 the source is away\n{}\n"):
        assert ask(tmp_path / "control.sock") == 69


@both_clients
def test_a_socket_that_is_closed_to_the_caller_is_a_refusal(tmp_path: Path, ask: Ask) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with daemon(closed / "control.sock", b"0 \n{}\n"):
        closed.chmod(0o700 if os.geteuid() == 0 else 0)
        code = as_nobody(lambda: ask(closed / "control.sock"))
        closed.chmod(0o700)
    assert code == 77


def as_nobody(call: Callable[[], int]) -> int:
    """What `call` returns in a process that root's rights do not help."""
    child = os.fork()
    if child == 0:
        code = 255
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            code = call()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(
    ("options", "is_published", "code", "told"),
    [
        ({}, True, 0, "bot is used as it was published"),
        ({"max_age": "1h", "allow_stale": True}, True, 0, "so the age of bot is unknown; it is used as"),
        ({"max_age": "1h"}, True, 75, "so the age of bot is unknown: systemctl status secretsd"),
        ({}, False, 75, "bot is not published"),
        ({"max_age": "1h", "allow_stale": True}, False, 75, "bot is not published"),
    ],
)
def test_a_daemon_that_is_down_keeps_no_bot_down_that_takes_stale_files(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: dict[str, object],
    is_published: bool,
    code: int,
    told: str,
) -> None:
    if is_published:
        generation = tmp_path / ".generations" / "bot" / "3"
        generation.mkdir(parents=True)
        (tmp_path / "bot").symlink_to(".generations/bot/3")
    assert wait(tmp_path / "control.sock", **options) == code
    said = capsys.readouterr().err
    assert told in said
    assert ("not published" in said) is not is_published


@pytest.mark.parametrize(
    ("limit_s", "confirmed_s", "options", "code", "told"),
    [
        (None, -7200, {}, 0, "bot is used as it was published"),
        (3600, -60, {}, 0, "bot is used as it was published"),
        (-1, -7200, {}, 75, "bot is too old: systemctl status secretsd"),
        (-1, -7200, {"allow_stale": True}, 0, "bot is too old; it is used as it was published"),
        (None, -7200, {"max_age": "1h"}, 75, "bot is too old"),
        (None, -7200, {"max_age": "3h"}, 0, "bot is used as it was published"),
        (-1, -7200, {"max_age": "3h"}, 0, "bot is used as it was published"),
        (None, 7200, {"max_age": "1h"}, 75, "bot is too old"),
        (60, float("nan"), {}, 75, "bot is too old"),
        (float("nan"), -1, {}, 75, "bot is too old"),
        (float("inf"), float("inf"), {"max_age": "1h"}, 75, "bot is too old"),
        (None, float("-inf"), {"max_age": "1h"}, 75, "bot is too old"),
    ],
)
def test_a_daemon_that_is_down_has_left_word_of_how_old_its_files_are(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    limit_s: float | None,
    confirmed_s: float,
    options: dict[str, object],
    code: int,
    told: str,
) -> None:
    (tmp_path / ".generations" / "bot" / "3").mkdir(parents=True)
    (tmp_path / "bot").symlink_to(".generations/bot/3")
    (tmp_path / ".confirmed").mkdir()
    now = time.monotonic()
    limit = "-" if limit_s is None else f"{now + limit_s:.3f}"
    (tmp_path / ".confirmed" / "bot").write_text(f"{limit} {now + confirmed_s:.3f} 1700000000.000 abcdef\n")
    assert wait(tmp_path / "control.sock", **options) == code
    assert told in capsys.readouterr().err
