"""What an alert command inherits (nothing), and how it ends (always)."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from secretsd.observe.alert_program import run
from tests.observe.waiting import written

EVENT = b'{"event": "refused"}\n'


def program(directory: Path, body: str, *, mode: int = 0o755) -> tuple[str, ...]:
    path = directory / "alert"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(mode)
    return (str(path), "a word")


def ran(command: tuple[str, ...], *, timeout_s: float = 10.0) -> str:
    return asyncio.run(run(command, EVENT, timeout_s=timeout_s))


def test_the_event_comes_on_standard_input_and_never_in_the_arguments(tmp_path: Path) -> None:
    assert ran(program(tmp_path, f'cat >{tmp_path}/in; printf "%s" "$*" >{tmp_path}/arguments')) == ""
    assert (tmp_path / "in").read_bytes() == EVENT
    assert (tmp_path / "arguments").read_text() == "a word"


def test_nothing_of_the_daemons_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-key-of-the-daemon")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/nowhere")
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    # The first command opens nothing: what a shell's own redirection opens would be listed, too.
    body = (
        f"ls -l /proc/self/fd >{tmp_path}/fds; env -0 >{tmp_path}/env; pwd >{tmp_path}/cwd;"
        f" grep CapAmb /proc/self/status >{tmp_path}/caps"
    )
    try:
        assert ran(program(tmp_path, body)) == ""
    finally:
        os.close(reading)
        os.close(writing)
    environment = dict(each.split("=", 1) for each in (tmp_path / "env").read_text().split("\0") if each)
    assert environment.keys() - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "LANG"}
    assert (tmp_path / "cwd").read_text() == "/\n"
    assert int((tmp_path / "caps").read_text().split()[1], 16) == 0
    descriptors = [
        line.split(" -> ")[1] for line in (tmp_path / "fds").read_text().splitlines() if "->" in line
    ]
    assert not [each for each in descriptors if "pipe" in each][1:], "its standard input alone is a pipe"
    assert len(descriptors) == 4, f"three standard ones, and the directory that ls reads: {descriptors}"


def test_what_it_prints_goes_nowhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert ran(program(tmp_path, "echo a-webhook; echo a-webhook >&2")) == ""
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("body", "wrong"),
    [("exit 3", "ended with 3"), ("kill -9 $$", "was ended by signal 9"), ("true", "")],
)
def test_how_it_ended_is_said(tmp_path: Path, body: str, wrong: str) -> None:
    assert ran(program(tmp_path, body)) == wrong


def test_one_that_reads_nothing_has_still_been_told(tmp_path: Path) -> None:
    assert asyncio.run(run(program(tmp_path, "exec <&-; exit 0"), EVENT * 100_000, timeout_s=10.0)) == ""


def test_one_that_hangs_is_killed_with_all_its_children(tmp_path: Path) -> None:
    body = f"sleep 300 & echo $! >{tmp_path}/child; wait"
    began = time.monotonic()
    assert ran(program(tmp_path, body), timeout_s=1.0) == "was killed: it had not ended after 1 s"
    assert time.monotonic() - began < 5
    assert is_gone(int((tmp_path / "child").read_text()))


def test_a_daemon_that_stops_takes_it_along(tmp_path: Path) -> None:
    async def scenario() -> None:
        command = program(tmp_path, f"echo $$ >{tmp_path}/pid; sleep 300")
        task = asyncio.create_task(run(command, EVENT))
        await written(tmp_path / "pid")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert is_gone(int((tmp_path / "pid").read_text()))


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                if file.read().split()[2] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def test_one_that_cannot_be_run_says_why(tmp_path: Path) -> None:
    assert ran(("/nowhere/alert",)) == "cannot be run: there is no such file"
    assert ran((str(tmp_path),)) == "cannot be run: there is no such file"
    assert "not executable" in ran(program(tmp_path, "true", mode=0o644))
    (tmp_path / "alert").write_text("#!/nowhere/interpreter\n")
    (tmp_path / "alert").chmod(0o755)
    assert ran((str(tmp_path / "alert"),)) == "ended with 127"


def test_an_event_is_one_line() -> None:
    assert json.loads(EVENT)
    assert EVENT.count(b"\n") == 1
