"""How the helper starts, ends, and what it brings with it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from secretsd.errors import ConfigError, UsageError
from secretsd.notify.helper import Settings, parse, peer_uid, serve
from tests.notify.fake_systemd import UNIT
from tests.notify.running import RunningHelper
from tests.programs import ROOT, notify_helper


def test_it_ends_when_it_has_been_idle(helper: RunningHelper) -> None:
    helper.start(idle_s=0.3)
    assert helper.process is not None
    helper.act()
    assert helper.process.wait(timeout=10) == 0
    assert not os.path.exists(helper.socket_path)


def test_it_does_not_end_while_a_job_runs(helper: RunningHelper) -> None:
    helper.systemd.hangs("reload", seconds=1.2)
    helper.start(idle_s=0.2)
    assert helper.act()["outcome"] == "acted"


def test_it_retires_between_two_answers_and_leaves_the_next_peer_to_its_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secretsd.notify.helper.RETIRE_S", -1.0)
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as peer:
        listener.bind(str(tmp_path / "n"))
        listener.listen()
        peer.connect(str(tmp_path / "n"))
        serve(listener, Settings(idle_s=30), allowed_uids=frozenset())
        connection, _ = listener.accept()  # as the next one does
        connection.close()


def test_killed_in_the_middle_of_a_job_the_peer_sees_the_end_at_once(helper: RunningHelper) -> None:
    helper.systemd.hangs("reload", seconds=8)
    helper.start()
    assert helper.process is not None
    with helper.connect() as connection:
        request = {"operation": "act", "bundle": "trading-bot", "unit": UNIT, "generation": 1}
        connection.sendall(json.dumps({**request, "published_monotonic": 100}).encode() + b"\n")
        while not helper.systemd.jobs:
            time.sleep(0.01)
        began = time.monotonic()
        helper.process.send_signal(signal.SIGKILL)
        # The systemctl that lives on must not hold the connection.
        assert connection.recv(1) == b""
        assert time.monotonic() - began < 4
    # What a kill leaves behind does not keep the next one from starting.
    helper.process.communicate()
    (helper.systemd.directory / "reload.sleep").unlink()
    helper.start()
    assert helper.act()["outcome"] == "acted"


def test_a_log_that_nobody_reads_stops_no_job(helper: RunningHelper) -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write_end, b"x" * 4096)
    os.set_blocking(write_end, True)
    helper.start(stderr=write_end)
    os.close(write_end)
    assert helper.act()["outcome"] == "acted"
    os.close(read_end)
    assert helper.act()["outcome"] == "acted"


def test_systemd_can_start_it_by_its_socket(helper: RunningHelper) -> None:
    # What a service manager does: the listening socket is descriptor 3, and the variables say for whom.
    launcher = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(helper.socket_path)
        listener.listen()
        program = str(notify_helper(helper.directory))
        command = [
            *(sys.executable, "-ISc", launcher, str(listener.fileno()), sys.executable, "-IS", program),
            *("--config", str(helper.config), "--systemctl", helper.systemd.systemctl, "--idle", "0.5"),
            *("--trusted-uid", str(os.geteuid()), "--peer-user", str(os.geteuid())),
        ]
        process = subprocess.Popen(command, pass_fds=[listener.fileno()], stderr=subprocess.PIPE)
        # The kernel queues the request until the program has come up.
        assert helper.act()["outcome"] == "acted"
        assert process.wait(timeout=10) == 0
        assert process.stderr is not None
        process.stderr.close()
        assert os.path.exists(helper.socket_path)  # it is systemd's


def run_helper(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-IS", str(notify_helper(directory)), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)


def test_without_a_socket_it_says_how_to_start_it(tmp_path: Path) -> None:
    done = run_helper(tmp_path, "--peer-user", "0", LISTEN_PID="1", LISTEN_FDS="1")
    assert done.returncode == 64
    assert "systemctl" not in done.stdout
    assert "start secretsd-notify.socket" in done.stderr


@pytest.mark.parametrize("arguments", [["--verbose"], ["--idle", "soon"], ["--unit", "x"], ["act"]])
def test_an_unknown_argument_is_a_usage_error(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(UsageError, match="usage"):
        parse(arguments)
    assert run_helper(tmp_path, *arguments).returncode == 64


def test_a_peer_user_that_does_not_exist_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="no-such-user"):
        peer_uid("no-such-user")
    assert peer_uid("root") == 0
    assert peer_uid("65534") == 65534


def test_a_file_that_is_no_socket_is_not_replaced(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    done = run_helper(tmp_path, "--socket", str(precious), "--peer-user", "0")
    assert done.returncode == 64
    assert precious.read_text() == "kept"


def test_root_imports_little_and_nothing_from_site_packages() -> None:
    program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import secretsd.notify.helper
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-ISc", program], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "secretsd" in loaded
    assert loaded.isdisjoint({"pydantic", "botocore", "asyncio", "logging", "argparse", "ssl", "site"})


def test_tests_and_benches_run_the_very_program_that_the_unit_does() -> None:
    unit = (ROOT / "systemd" / "secretsd-notify.service").read_text(encoding="utf-8")
    rules = (ROOT / "packaging" / "debian" / "rules").read_text(encoding="utf-8")
    assert "\nExecStart=/usr/libexec/secretsd/notify-helper " in unit
    assert "packaging/libexec/notify-helper debian/secretsd/usr/libexec/secretsd/notify-helper\n" in rules
