"""The running signer: a reload, a stop in the middle of requests, sockets from systemd, a token away."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secretsd.signing import frame
from secretsd.signing.frame import ANSWER_BYTES
from tests.canary.spellings import MARK
from tests.lab import daemons
from tests.lab.daemons import DaemonProcess
from tests.signing.softhsm import LABEL, MODULE, PIN, SoftHsm


class Signer:
    """A real secretsd-signer of this user's own, in the foreground."""

    def __init__(self, softhsm: SoftHsm, **settings: Any) -> None:
        self.directory = softhsm.directory
        self.config = self.directory / "secretsd.toml"
        self._softhsm = softhsm
        self._settings = settings
        self.environment = {**os.environ, **softhsm.environment}
        self.process: DaemonProcess | None = None

    def configure(self, *keys: str, audit: str = "batched", **extra: str) -> None:
        lines = [
            "[signer]",
            f'module = "{MODULE}"',
            f'token = "{LABEL}"',
            f'pin = "file:{self._softhsm.pin_file}"',
            f'socket = "{self.directory}/signer.sock"',
            f'seqpacket_socket = "{self.directory}/signer.seq"',
            f'state_dir = "{self.directory}/state"',
            *(f"{name} = {value}" for name, value in {**self._settings, **extra}.items()),
        ]
        for key in keys:
            lines += [
                f"[signer.keys.{key}]",
                'type = "hmac"',
                'operations = ["hmac", "verify"]',
                'allow = [{ user = "root" }]',
                f'audit = "{audit}"',
            ]
        self.config.write_text("\n".join(lines) + "\n")

    def start(self, **popen: Any) -> None:
        self.process = DaemonProcess(
            "secretsd.signing", self.config, env=self.environment, stderr=subprocess.PIPE, **popen
        )
        until_s = time.monotonic() + 10
        while self.process.poll() is None:
            try:
                self.connect().close()
            except OSError:
                assert time.monotonic() < until_s
                time.sleep(0.01)
            else:
                return

    def stop(self) -> str:
        """What it wrote to its standard error."""
        assert self.process is not None
        self.process.terminate()
        _, written = self.process.communicate(timeout=15)
        return str(written)

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(10)
        connection.connect(os.fspath(self.directory / "signer.seq"))
        return connection

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Over HTTP, as curl does."""
        command = [
            "curl",
            "-s",
            "--unix-socket",
            os.fspath(self.directory / "signer.sock"),
            f"http://x{path}",
        ]
        if body is not None:
            command += ["-d", json.dumps(body)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return dict(json.loads(done.stdout))

    def wake_ups(self) -> int:
        """How often its threads have gone to sleep so far: proc_pid_status(5)."""
        assert self.process is not None
        return sum(
            int(status.read_text().split("\nvoluntary_ctxt_switches:")[1].split()[0])
            for status in Path(f"/proc/{self.process.pid}/task").glob("*/status")
        )

    def records(self) -> list[dict[str, Any]]:
        lines = (self.directory / "state/audit/signer.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines[1:]]


# No log, record or answer shows what was signed, either.
_MESSAGE = f"{MARK}message".encode()


def mac_frame(key: str, request_id: int = 1, *, message: bytes = _MESSAGE) -> bytes:
    head = struct.pack("!BBBBBBhIIIQQ", 1, 3, 0, 0, 0, len(key), 0, 0, 0, 0, request_id, 0)
    return head + key.encode() + message


def code_of(answer: bytes) -> str:
    """Of an error; empty for an answer without one."""
    return "" if answer[1] == 0 else answer[ANSWER_BYTES:].split(b"\0")[0].decode()


@pytest.fixture
def signer(softhsm: SoftHsm) -> Iterator[Signer]:
    signer = Signer(softhsm)
    yield signer
    if signer.process is not None and signer.process.poll() is None:
        signer.process.kill()
        signer.process.communicate()


def test_a_reload_changes_who_may_do_what_on_open_connections(signer: Signer) -> None:
    signer.configure("one")
    signer.start()
    assert "name" in signer.ask("/v1/secretsd/keys/one/generate", {})["data"]
    with signer.connect() as connection:
        connection.send(mac_frame("one"))
        assert code_of(connection.recv(65536)) == ""
        connection.send(mac_frame("two"))
        assert code_of(connection.recv(65536)) == "unknown-key"
        signer.configure("two")
        assert signer.process is not None
        signer.process.send_signal(signal.SIGHUP)
        until_s = time.monotonic() + 5
        while True:
            connection.send(mac_frame("one"))
            if code_of(connection.recv(65536)) == "unknown-key":
                break
            assert time.monotonic() < until_s
        assert "name" in signer.ask("/v1/secretsd/keys/two/generate", {})["data"]
        connection.send(mac_frame("two"))
        assert code_of(connection.recv(65536)) == ""
    signer.stop()
    actions = [each["action"] for each in signer.records()]
    assert actions[-1] == "stop"
    assert "reload" in actions


def test_a_reload_that_names_another_token_says_so_and_keeps_the_one_there_is(signer: Signer) -> None:
    """Also when the library is started anew afterwards."""
    signer.configure("one", sessions="2")
    signer.start()
    signer.ask("/v1/secretsd/keys/one/generate", {})
    signer.configure("one", sessions="3")
    signer.config.write_text(signer.config.read_text().replace(f'"{LABEL}"', '"elsewhere"'))
    assert signer.process is not None
    signer.process.send_signal(signal.SIGHUP)
    until_s = time.monotonic() + 5
    while "reload" not in [each["action"] for each in signer.records()]:
        assert time.monotonic() < until_s
        time.sleep(0.02)
    assert signer.ask("/v1/secretsd/report")["data"]["sessions"] == 2
    # A key that is gone looks like a token that is lost: the library is finalized and initialised.
    for path in signer.directory.rglob("*.object"):
        if path.name != "token.object":
            path.unlink()
    with signer.connect() as connection:
        connection.send(mac_frame("one"))
        assert code_of(connection.recv(65536)) == "key-missing"
    assert signer.stop().count("a changed setting needs a restart") == 2


def test_a_configuration_that_cannot_be_used_changes_nothing(signer: Signer) -> None:
    signer.configure("one")
    signer.start()
    signer.ask("/v1/secretsd/keys/one/generate", {})
    for broken in ("[signer]\nmodule = 1\n", "[daemon]\n", "x = [", "[signer]\n[signer]\n"):
        signer.config.write_text(broken)
        assert signer.process is not None
        signer.process.send_signal(signal.SIGHUP)
        time.sleep(0.1)
        with signer.connect() as connection:
            connection.send(mac_frame("one"))
            assert code_of(connection.recv(65536)) == ""
    assert "the configuration stays as it was" in signer.stop()
    failed = [each for each in signer.records() if each["action"] == "reload"]
    assert [each["result"] for each in failed] == ["failed"] * 4


def test_a_stop_answers_what_is_under_way(signer: Signer) -> None:
    signer.configure("one", audit="strict")
    signer.start()
    signer.ask("/v1/secretsd/keys/one/generate", {})
    with signer.connect() as connection:
        for number in range(100):
            connection.send(mac_frame("one", number + 1))
        assert signer.process is not None
        signer.process.send_signal(signal.SIGTERM)
        answered = {}
        while answer := connection.recv(65536):
            answered[frame._ANSWER.unpack_from(answer)[-1]] = code_of(answer)
    assert len(answered) == 100, "also what came while it stopped"
    assert set(answered.values()) <= {"", "stopping"}
    assert signer.process.wait(10) == 0
    outcomes = [each for each in signer.records() if each["action"] == "hmac" and each["phase"] == "outcome"]
    done = sum(1 for code in answered.values() if not code)
    assert done <= sum(1 for each in outcomes if each["result"] == "ok")
    assert not (signer.directory / "signer.seq").exists()


def test_a_second_signer_does_not_take_the_sockets_away(signer: Signer, softhsm: SoftHsm) -> None:
    signer.configure("one")
    signer.start()
    second = Signer(softhsm)
    second.start()
    assert second.process is not None
    _, written = second.process.communicate(timeout=10)
    assert second.process.returncode == 74
    assert "Address already in use" in written
    assert signer.ask("/v1/sys/health")["initialized"] is True


def test_a_socket_left_behind_by_a_killed_signer_is_replaced(signer: Signer) -> None:
    signer.configure("one")
    signer.start()
    assert signer.process is not None
    signer.process.kill()
    signer.process.communicate()
    assert (signer.directory / "signer.seq").exists()
    signer.start()
    assert signer.ask("/v1/sys/health")["initialized"] is True


def test_sockets_that_systemd_passes_are_known_by_their_names_and_left_in_place(signer: Signer) -> None:
    signer.configure("one")
    http, native = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    http.bind(os.fspath(signer.directory / "signer.sock"))
    native.bind(os.fspath(signer.directory / "signer.seq"))
    for listener in (http, native):
        listener.listen(64)
    program = (
        f"import os, sys; os.dup2({native.fileno()}, 60); os.dup2({http.fileno()}, 61)\n"
        "os.dup2(60, 3); os.dup2(61, 4)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2')\n"
        "os.environ.update(LISTEN_FDNAMES='signer.seq:signer.sock')\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    signer.start(prefix=[sys.executable, "-c", program], pass_fds=(http.fileno(), native.fileno()))
    assert signer.ask("/v1/secretsd/keys/one/generate", {})["data"]["version"] == 1
    with signer.connect() as connection:
        connection.send(mac_frame("one"))
        assert code_of(connection.recv(65536)) == ""
    signer.stop()
    # A connection that comes between two processes waits in the listener.
    with signer.connect() as connection:
        connection.send(mac_frame("one"))
    assert (signer.directory / "signer.sock").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [("[daemon]\n", "there is no table [signer]"), ("[signer]\nmodul = 1\n", "did you mean")],
)
def test_without_a_usable_table_it_ends_with_78(signer: Signer, content: str, said: str) -> None:
    signer.config.write_text(content)
    code, told = daemons.run("secretsd.signing", signer.config)
    assert code == 78
    assert said in told


def test_it_starts_without_its_token_and_says_why(signer: Signer, softhsm: SoftHsm) -> None:
    softhsm.pin_file.write_text(f"{MARK}wrong-pin")
    signer.configure("one")
    signer.start()
    with signer.connect() as connection:
        until_s = time.monotonic() + 5
        while True:
            connection.send(mac_frame("one"))
            answer = connection.recv(65536)
            if code_of(answer) == "pin-locked":
                break
            assert time.monotonic() < until_s
        assert b"secretsctl unlock" in answer
        softhsm.pin_file.write_text(PIN)
        connection.send(mac_frame("one"))
        assert code_of(connection.recv(65536)) == "pin-locked", "the PIN was tried again by itself"
        assert signer.ask("/v1/secretsd/unlock", {})["data"] == {"state": "the token works"}
        assert signer.ask("/v1/secretsd/keys/one/generate", {})["data"]["version"] == 1
        connection.send(mac_frame("one"))
        assert code_of(connection.recv(65536)) == ""
    signer.stop()


def test_a_trail_that_is_removed_while_nobody_signs_is_back_within_a_second(signer: Signer) -> None:
    signer.configure("one")
    signer.start()
    signer.ask("/v1/secretsd/keys")
    time.sleep(2.5)  # what is written is looked at a second later, and would notice it, too
    trail = signer.directory / "state/audit/signer.jsonl"
    trail.unlink()
    until_s = time.monotonic() + 2.5  # a slow machine; without a look of its own it would stay away
    while not trail.exists():
        assert time.monotonic() < until_s
        time.sleep(0.05)


def test_a_signer_that_nobody_asks_sleeps(signer: Signer) -> None:
    signer.configure("one")
    signer.start()
    until_s, before = time.monotonic() + 20, -1
    while signer.wake_ups() != before:
        assert time.monotonic() < until_s, "it wakes again and again"
        before = signer.wake_ups()
        time.sleep(2.0)
    (signer.directory / "state/audit/signer.jsonl").unlink()
    time.sleep(2.0)
    assert signer.wake_ups() > before + 2, "they are counted: the loop and the writing thread have looked"


def test_refusals_fill_the_trail_at_a_rate_and_are_counted_beyond_it(signer: Signer) -> None:
    signer.configure("one")
    signer.start()
    sent = 12_000
    with signer.connect() as connection:
        for _ in range(sent // 50):
            for number in range(50):
                connection.send(mac_frame("unknown", number))
            for _ in range(50):
                assert code_of(connection.recv(65536)) == "unknown-key"
    signer.stop()
    records = signer.records()
    refused = [each for each in records if each.get("reason") == "unknown-key"]
    withheld = [each for each in records if each["action"] == "withheld"]
    assert 10_000 <= len(refused) < sent
    assert len(refused) + sum(each["count"] for each in withheld) == sent
    assert {each["key"] for each in refused} == {None}, "what a client sent is not on record"


def test_connections_do_not_take_the_last_descriptors_from_the_token(signer: Signer) -> None:
    signer.configure("one")
    signer.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200)))
    assert "name" in signer.ask("/v1/secretsd/keys/one/generate", {})["data"]
    crowd = [signer.connect() for _ in range(150)]
    turned_away = crowd[-1].recv(65536)
    assert code_of(turned_away) == "too-many-connections"
    crowd[0].send(mac_frame("one"))
    assert code_of(crowd[0].recv(65536)) == ""
    for connection in crowd:
        connection.close()


def test_a_signer_that_cannot_write_its_trail_says_so_and_leaves_no_sockets(signer: Signer) -> None:
    (signer.directory / "state").write_text("a file where the directory should be")
    signer.configure("one")
    signer.start()
    assert signer.process is not None
    _, written = signer.process.communicate(timeout=10)
    assert signer.process.returncode == 74
    assert "cannot be written" in written
    assert not (signer.directory / "signer.sock").exists()
    assert not (signer.directory / "signer.seq").exists()
