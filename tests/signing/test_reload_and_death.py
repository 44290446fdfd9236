"""What an attacker finds around a reload, and around the end of the process that asked."""

from __future__ import annotations

import array
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from secretsd.signing.desk import Caller, Desk
from secretsd.signing.model import KeyType, KeyVersion, Operation, Request
from secretsd.signing.trail import Trail
from tests.signing.daemon import Daemon
from tests.signing.peers import BOT, peer, policy, signer


def _mac_key(label: str) -> dict[str, Any]:
    return {"type": "hmac", "operations": ["hmac"], "label": label}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    keys = {"orders": _mac_key("first"), "two": _mac_key("second")}
    with Daemon(tmp_path, keys, sessions=1) as daemon:
        daemon.generate("orders", "two")
        yield daemon


def _reload(daemon: Daemon) -> None:
    before = daemon.log().count("the configuration was read anew")
    daemon.process.send_signal(signal.SIGHUP)
    until_s = time.monotonic() + 10
    while daemon.log().count("the configuration was read anew") == before:
        assert time.monotonic() < until_s
        time.sleep(0.02)


def test_a_key_that_a_reload_moves_to_another_label_is_not_used_with_its_old_one(daemon: Daemon) -> None:
    signer = daemon.signer()
    first, second = signer.hmac("orders", b"m"), signer.hmac("two", b"m")
    assert first != second
    daemon.configure({"orders": _mac_key("second"), "two": _mac_key("first")})
    _reload(daemon)
    time.sleep(0.5)
    assert (signer.hmac("orders", b"m"), signer.hmac("two", b"m")) == (second, first)


def _ask_from_a_connection_of_the_dead(daemon: Daemon, request: bytes) -> bytes:
    """This user's child connects, hands its connection on and ends; the answer that then comes."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(os.fspath(daemon.http))
            connection.send(b"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\n")
            connection.recv(65536)
            passed = array.array("i", [connection.fileno()])
            theirs.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
        os._exit(0)
    _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    os.waitpid(child, 0)
    with socket.socket(fileno=descriptors[0]) as connection:
        connection.settimeout(10)
        connection.send(request)
        return connection.recv(65536)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "keys/orders/generate"), ("POST", "keys/orders/retire"), ("GET", "report"), ("GET", "keys")],
)
def test_the_connection_of_an_admin_that_has_ended_changes_no_key(
    daemon: Daemon, method: str, path: str
) -> None:
    body = b'{"version": 1}'
    head = f"{method} /v1/secretsd/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = _ask_from_a_connection_of_the_dead(daemon, head.encode() + body)
    assert b"X-Secretsd-Error: peer-gone" in answer, answer
    assert daemon.signer().hmac("orders", b"m")
    assert daemon.admin("GET", "report")["keys"]["orders"] == 1


def test_a_strict_answer_does_not_go_to_who_holds_the_socket_of_one_that_ended_at_the_disk() -> None:
    keys: dict[str, Any] = {
        "hot": {"type": "hmac", "operations": ["hmac"], "allow": [{"user": "bot"}], "audit": "strict"}
    }
    commits: list[Any] = []
    log = SimpleNamespace(append=lambda _: None, commit=commits.append, trouble=None)
    token = SimpleNamespace(keys={"hot": (KeyVersion("hot", 1, KeyType.HMAC, None, False),)}, problems={})
    dispatcher = SimpleNamespace(submit=lambda job: job.done(b"mac"), trouble=None)
    answers: list[Any] = []
    with subprocess.Popen(["sleep", "60"]) as asker:
        caller = Caller(peer(BOT), os.pidfd_open(asker.pid))
        desk = Desk(
            signer(keys),
            policy(keys),
            cast("Any", token),
            cast("Any", dispatcher),
            Trail(cast("Any", log), lambda: None),
        )
        desk.submit(caller, Request(Operation.HMAC, "hot", b"m"), answers.append)
        assert (len(commits), answers) == (1, [])
        asker.kill()
        asker.wait()
    commits[0](None)
    caller.close()
    assert [getattr(each, "code", each) for each in answers] == ["peer-gone"]
