from __future__ import annotations

import asyncio
import functools
import signal
import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from secretsd.model import UnitReport
from secretsd.notify import client
from tests.notify.fake_systemd import INVOCATION, UNIT, shown
from tests.notify.running import RunningHelper


def act(path: str | Path, *, unit: str = UNIT, timeout_s: float = 20) -> Coroutine[Any, Any, UnitReport]:
    return client.act(
        str(path),
        bundle="trading-bot",
        unit=unit,
        generation=7,
        published_monotonic=100.0,
        timeout_s=timeout_s,
    )


def test_the_report_of_the_helper_arrives(helper: RunningHelper) -> None:
    helper.start()
    report = asyncio.run(act(helper.socket_path))
    assert report == UnitReport("acted", f"{UNIT} has reloaded", "", INVOCATION, 4711)


def test_a_look_says_what_is_due_and_does_nothing(helper: RunningHelper) -> None:
    helper.start()
    look = functools.partial(client.look, helper.socket_path, bundle="trading-bot", unit=UNIT, generation=7)
    assert asyncio.run(look(published_monotonic=100.0)).outcome == "due"
    assert asyncio.run(look(published_monotonic=10.0)).outcome == "current"
    helper.systemd.shows(shown(ActiveState="inactive", MainPID=0))
    assert asyncio.run(look(published_monotonic=100.0)).outcome == "inactive"
    helper.systemd.shows(shown(ActiveState="activating", SubState="start"))
    assert asyncio.run(look(published_monotonic=100.0)).outcome == "due", "it would be waited for"
    assert helper.systemd.jobs == []


def test_a_confirmation_says_how_long_the_bot_lived_on(helper: RunningHelper) -> None:
    helper.start()
    confirm = functools.partial(
        client.confirm, helper.socket_path, bundle="trading-bot", unit=UNIT, invocation=INVOCATION
    )
    assert asyncio.run(confirm()).outcome == "acted"
    helper.systemd.shows(
        shown(
            ActiveState="failed",
            Result="exit-code",
            ExecMainCode=1,
            ExecMainStatus=1,
            ExecMainExitTimestampMonotonic=101_400_000,
        )
    )
    report = asyncio.run(confirm(acted_monotonic=101.0))
    assert report.outcome == "failed"
    assert "ended 0.4 s after its reload: exit-code, status 1" in report.message


def test_many_reports_come_at_once(helper: RunningHelper) -> None:
    async def all_at_once() -> list[UnitReport]:
        return await asyncio.gather(*(act(helper.socket_path) for _ in range(50)))

    helper.start()
    assert {report.outcome for report in asyncio.run(all_at_once())} == {"acted"}


def test_a_helper_that_is_killed_in_the_middle_is_a_failure_at_once(helper: RunningHelper) -> None:
    async def killed() -> tuple[UnitReport, float]:
        assert helper.process is not None
        asked = asyncio.create_task(act(helper.socket_path, timeout_s=60))
        while not helper.systemd.jobs:  # noqa: ASYNC110 - another process writes them
            await asyncio.sleep(0.01)
        began = time.monotonic()
        helper.process.send_signal(signal.SIGKILL)
        return await asked, time.monotonic() - began

    helper.systemd.hangs("reload", seconds=8)
    helper.start()
    report, seconds = asyncio.run(killed())
    assert report.outcome == "failed"
    assert report.message == "the notify helper ended without an answer"
    assert "journalctl" in report.advice
    assert seconds < 4


def test_a_missing_socket_is_a_failure_with_the_fix(tmp_path: Path) -> None:
    report = asyncio.run(act(tmp_path / "none.sock"))
    assert report.outcome == "failed"
    assert report.message == f"the notify helper's socket {tmp_path}/none.sock is missing"
    assert report.advice == "systemctl start secretsd-notify.socket"


def test_a_socket_nobody_listens_on_is_a_failure_with_the_fix(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "dead.sock"))
    report = asyncio.run(act(tmp_path / "dead.sock"))
    assert "nobody listens" in report.message
    assert report.advice == "systemctl start secretsd-notify.socket"


@contextmanager
def answering(path: Path, answer: bytes | None) -> Iterator[None]:
    """A peer that takes one connection, and answers or (None) stays silent until the end."""
    done = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            if answer is None:
                done.wait(20)
                return
            connection.recv(65536)
            connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        done.set()
        thread.join()


@pytest.mark.parametrize("answer", [b"{}\n", b"hello\n", b'{"outcome":"perfect"}\n', b"[" * 9000 + b"\n"])
def test_an_answer_that_makes_no_sense_is_a_failure(tmp_path: Path, answer: bytes) -> None:
    with answering(tmp_path / "odd.sock", answer):
        report = asyncio.run(act(tmp_path / "odd.sock"))
    assert report.outcome == "failed"
    assert "makes no sense" in report.message


@pytest.mark.parametrize("answer", [b"", b'{"outcome":"acted"', b"x" * 100_000])
def test_an_answer_that_is_cut_short_or_never_ends_is_not_a_success(tmp_path: Path, answer: bytes) -> None:
    with answering(tmp_path / "cut.sock", answer):
        report = asyncio.run(act(tmp_path / "cut.sock"))
    assert report.outcome == "failed"
    assert "without an answer" in report.message


def test_a_helper_that_hangs_is_given_up_after_the_timeout(tmp_path: Path) -> None:
    with answering(tmp_path / "hung.sock", None):
        report = asyncio.run(act(tmp_path / "hung.sock", timeout_s=0.3))
    assert report.outcome == "failed"
    assert report.message == "the notify helper did not answer within 0.3 s"


def test_a_request_that_the_helper_would_refuse_is_not_sent(tmp_path: Path) -> None:
    report = asyncio.run(act(tmp_path / "none.sock", unit="two words.service"))
    assert report.outcome == "failed"
    assert "printable ASCII" in report.message


def test_cancellation_is_not_swallowed(tmp_path: Path) -> None:
    async def cancelled() -> None:
        asked = asyncio.create_task(act(tmp_path / "hung.sock"))
        await asyncio.sleep(0.1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    with answering(tmp_path / "hung.sock", None):
        asyncio.run(cancelled())
