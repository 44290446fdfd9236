"""Who connected: with real processes, users, control groups and process numbers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secretsd.signing.errors import SigningError
from secretsd.signing.peer import Identified, identify, identify_sender, is_alive
from tests.signing import control_groups

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
CONNECT = """
import os, socket
uid, gids = WHO
if gids:
    os.setgroups(gids[1:]); os.setresgid(*gids[:1] * 3)
os.setresuid(uid, uid, uid)
client = socket.socket(socket.AF_UNIX); client.connect(NAME); client.recv(1)
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="acts as other users: needs root")


@pytest.fixture
def address() -> Iterator[tuple[socket.socket, str]]:
    """A listener whom every user reaches: in the abstract namespace, where no directory is in the way."""
    name = f"\0secretsd-test-{os.getpid()}-{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(name)
        listening.listen()
        listening.settimeout(10)
        yield listening, name


@contextlib.contextmanager
def connected(
    address: tuple[socket.socket, str], *gids: int, uid: int | None = None, **more: Any
) -> Iterator[socket.socket]:
    """A connection from another process, which ends when a byte is sent to it. The first gid is its own."""
    listening, name = address
    who = os.geteuid() if uid is None else uid
    code = CONNECT.replace("WHO", repr((who, list(gids)))).replace("NAME", repr(name))
    client = subprocess.Popen([sys.executable, "-I", "-c", code], **more)
    try:
        connection, _ = listening.accept()
        with connection:
            yield connection
    finally:
        client.kill()
        client.wait()


@contextlib.contextmanager
def identified(connection: socket.socket) -> Iterator[Identified]:
    found = identify(connection)
    try:
        yield found
    finally:
        os.close(found.pidfd)


@pytest.fixture
def cgroups() -> Iterator[Any]:
    """Makes control groups below the mounted root, and removes what it made."""
    with control_groups.making() as make:
        if make is None:
            pytest.skip("makes control groups: needs root and a hierarchy of version 2 that may be written")
        yield make


def test_user_groups_and_start_are_the_kernel_s(address: tuple[socket.socket, str]) -> None:
    with connected(address) as connection, identified(connection) as found:
        assert found.peer.uid == os.geteuid()
        assert {os.getegid(), *os.getgroups()} == found.peer.gids
        assert (
            0 < found.peer.start_ticks <= time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")
        )
        assert is_alive(found.pidfd)


@needs_root
def test_another_user_is_that_user_with_its_supplementary_groups(address: tuple[socket.socket, str]) -> None:
    with connected(address, 1, 2, 3, uid=NOBODY) as connection, identified(connection) as found:
        assert (found.peer.uid, found.peer.gids) == (NOBODY, {1, 2, 3})


@needs_root
def test_more_groups_than_can_be_read_count_as_none(address: tuple[socket.socket, str]) -> None:
    with connected(address, *range(1, 400), uid=NOBODY) as connection, identified(connection) as found:
        assert found.peer.gids == {1}


def test_a_peer_that_has_ended_is_refused(address: tuple[socket.socket, str]) -> None:
    with connected(address) as connection, identified(connection) as found:
        connection.send(b"x")
        os.waitid(os.P_PIDFD, found.pidfd, os.WEXITED | os.WNOWAIT)
        assert not is_alive(found.pidfd)
        with pytest.raises(SigningError) as caught:
            identify(connection)
        assert caught.value.code == "peer-gone"


def test_a_thousand_connections_leave_no_descriptor(address: tuple[socket.socket, str]) -> None:
    with connected(address) as connection:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(1000):
            with identified(connection):
                pass
        assert len(os.listdir("/proc/self/fd")) == before
        with identified(connection) as found:
            assert len(os.listdir("/proc/self/fd")) == before + 1, "the count sees one"
            assert found.pidfd


def test_a_connection_that_is_handed_on_keeps_its_process(address: tuple[socket.socket, str]) -> None:
    with connected(address) as connection, identified(connection) as found:
        sender = identify_sender(found, os.getpid(), 4242, 4243)
        assert (sender.pid, sender.uid, sender.gids, sender.unit) == (os.getpid(), 4242, {4243}, None)
        assert identify_sender(found, found.peer.pid, 4242, 4243) is found.peer


UNIT = "secretsd-test-bot.service"
IMPOSTORS = [
    "/user.slice/user-65534.slice/user@65534.service/app.slice/" + UNIT,
    "/system.slice/secretsd-test-other.service/" + UNIT,
    "/secretsd-test.slice/" + UNIT,
    f"/system.slice/{UNIT}/inner",
]


@needs_root
@pytest.mark.parametrize("place", IMPOSTORS)
def test_a_group_of_a_user_s_own_named_like_the_unit_is_not_the_unit(
    address: tuple[socket.socket, str], cgroups: Any, place: str
) -> None:
    assert unit_in(address, cgroups(f"/system.slice/{UNIT}")) == UNIT, "the unit itself is known"
    assert unit_in(address, cgroups(place)) is None


def unit_in(address: tuple[socket.socket, str], place: Path) -> str | None:
    def enter() -> None:
        (place / "cgroup.procs").write_text("0")

    with connected(address, preexec_fn=enter) as connection, identified(connection) as found:
        return found.peer.unit


@needs_root
def test_the_number_of_a_process_that_ended_does_not_make_another_s_unit_its_own(cgroups: Any) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("makes a PID namespace: needs unshare(1)")
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-m", "tests.signing.pid_reuse"]
    place = cgroups(f"/system.slice/{UNIT}")
    done = subprocess.run([*command, place], stdout=subprocess.PIPE, cwd=ROOT, timeout=60, check=True)
    assert json.loads(done.stdout) == {
        "alive_before": True,
        "same_number": True,
        "naive": UNIT,  # a check by number alone would have been taken in
        "identify": "peer-gone",
        "alive_after": False,
        "sender": None,
        "old_kernel": None,
        "honest_old_kernel": UNIT,
    }
