"""`secretsctl health` before a daemon that is well, ill, silent, another one, or none."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from secretsd.cli.main import run
from secretsd.control.check import Check, fail, ok, warn
from secretsd.errors import ExitCode
from secretsd.monitor import health
from secretsd.monitor.http import JSON, Answer, said, written

BAD = fail("bundle bot", "its source refuses\x1b[2J", "grant secretsmanager:GetSecretValue", ExitCode.REFUSED)


@pytest.fixture(autouse=True)
def no_signer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRETSD_SIGNER_SOCKET", str(tmp_path / "none" / "signer.sock"))


@contextlib.contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """One connection is answered with these bytes, whatever it asks."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        thread.join(5)


def readyz(daemon: str, *checks: Check) -> bytes:
    document = {"schema": 1, **health.document(daemon, checks)}
    return written(Answer(200, json.dumps(document).encode(), JSON))


def asked(tmp_path: Path, *more: str) -> int:
    return run(["health", "--socket", str(tmp_path / "control.sock"), *more])


@pytest.mark.parametrize(
    ("checks", "code", "first"),
    [
        ([ok("log", "well")], ExitCode.OK, "refresher: ready"),
        ([ok("log", "well"), warn("source aws", "is silent", "wait")], ExitCode.OK, "refresher: degraded"),
        ([ok("log", "well"), BAD], ExitCode.REFUSED, "refresher: not ready"),
    ],
)
def test_the_word_stands_first_and_decides_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], checks: list[Check], code: ExitCode, first: str
) -> None:
    with answering(tmp_path / "metrics.sock", readyz("refresher", *checks)):
        assert asked(tmp_path) == code
    out = capsys.readouterr().out
    assert out.splitlines()[0] == first
    assert "\x1b" not in out


def test_the_worst_stands_before_what_is_well_and_has_its_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(tmp_path / "metrics.sock", readyz("refresher", ok("log", "well"), BAD)):
        asked(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("fail  bundle bot")
    assert lines[2].strip() == "fix: grant secretsmanager:GetSecretValue"
    assert lines[3].startswith("ok    log")


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (b"", ExitCode.TRY_AGAIN, "is not this version of secretsd"),
        (b"220 mail.example.com ESMTP\r\n", ExitCode.TRY_AGAIN, "is not this version of secretsd"),
        (written(said(200, "ready")), ExitCode.TRY_AGAIN, "is not this version of secretsd"),
        (written(said(403, "uid 7 may not read this")), ExitCode.REFUSED, "uid 7 may not read this"),
    ],
)
def test_what_answers_otherwise_is_named_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: bytes, code: ExitCode, words: str
) -> None:
    with answering(tmp_path / "metrics.sock", answer):
        assert asked(tmp_path) == code
    out = " ".join(capsys.readouterr().out.split())
    assert words in out
    assert "fix: " in out


def test_nobody_there_is_not_ready_for_programs_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(tmp_path, "--json") == ExitCode.TRY_AGAIN
    document = json.loads(capsys.readouterr().out)
    assert document["state"] == "not ready"
    (check,) = document["daemons"][0]["checks"]
    assert check["check"] == "process"
    assert "systemctl status secretsd" in check["fix"]


def test_a_signer_that_is_there_is_asked_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "signer"
    folder.mkdir()
    monkeypatch.setenv("SECRETSD_SIGNER_SOCKET", str(folder / "signer.sock"))
    with (
        answering(tmp_path / "metrics.sock", readyz("refresher", ok("log", "well"))),
        answering(
            folder / "metrics.sock", readyz("signer", warn("key a", "lacks a mechanism", "see the manual"))
        ),
    ):
        assert asked(tmp_path) == ExitCode.OK
    out = capsys.readouterr().out
    assert "refresher: ready" in out
    assert "signer: degraded" in out
