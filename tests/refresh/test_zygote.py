"""`serve` in a forked process, with a worker that does what the test says."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from secretsd import process
from secretsd.refresh.worker import worker, zygote
from tests.canary.spellings import MARKER

Job = Callable[[socket.socket], None]


@dataclass
class Served:
    """A zygote whose workers run `job`."""

    pid: int
    control: socket.socket

    def request(self) -> tuple[socket.socket, int]:
        """The job socket and the pidfd of a new worker."""
        ours, theirs = socket.socketpair()
        ours.settimeout(5)
        with theirs:
            socket.send_fds(self.control, [zygote.REQUEST], [theirs.fileno()])
        _, (pidfd,), _, _ = socket.recv_fds(self.control, 1, 1)
        return ours, pidfd

    def ended(self, within_s: float = 5.0) -> bool:
        return ended(self.pid, within_s)


def ended(pid: int, within_s: float = 5.0) -> bool:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    with os.fdopen(pidfd, "rb", closefd=True):
        return bool(select.select([pidfd], [], [], within_s)[0])


def children_of(pid: int) -> list[str]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return file.read().split()


def is_seqpacket(descriptor: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as found:
            return found.type == socket.SOCK_SEQPACKET
    except OSError:
        return False  # no socket, or not there any more


@contextlib.contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, job: Job, *, idle_s: float = 30.0) -> Iterator[Served]:
    monkeypatch.setattr(worker, "run", job)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            process.die_with_parent(parent)
            zygote.serve(theirs, idle_s=idle_s)
        finally:
            os._exit(0)
    theirs.close()
    ours.settimeout(5)
    try:
        yield Served(pid, ours)
    finally:
        ours.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def say_pid(channel: socket.socket) -> None:
    channel.sendall(str(os.getpid()).encode())


def say_pid_and_wait(channel: socket.socket) -> None:
    say_pid(channel)
    channel.recv(1)


def test_an_idle_zygote_ends_so_that_a_quiet_host_pays_nothing_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(monkeypatch, say_pid, idle_s=0.05) as served:
        assert served.ended()
        assert served.control.recv(1) == b""


def test_a_zygote_with_a_worker_is_not_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, say_pid_and_wait, idle_s=0.05) as served:
        job, _pidfd = served.request()
        job.recv(100)
        assert not served.ended(within_s=0.15)
        job.close()
        assert served.ended()


def test_a_zygote_ends_with_its_conductor_and_its_workers_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, say_pid_and_wait) as served:
        job, pidfd = served.request()
        pid = int(job.recv(100))
        assert children_of(served.pid) == [str(pid)]
        served.control.close()
        assert served.ended()
        assert select.select([pidfd], [], [], 5.0)[0]
        job.close()


def test_ended_workers_are_reaped(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, say_pid) as served:
        for _ in range(5):
            job, pidfd = served.request()
            assert job.recv(100)
            assert select.select([pidfd], [], [], 5.0)[0]
            job.close()
            os.close(pidfd)
        deadline = time.monotonic() + 5
        while children_of(served.pid) and time.monotonic() < deadline:
            time.sleep(0.005)
        assert children_of(served.pid) == []


def test_a_killed_worker_leaves_the_zygote_and_the_other_workers_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(monkeypatch, say_pid_and_wait) as served:
        (first, first_pidfd), (second, second_pidfd) = served.request(), served.request()
        pid = int(second.recv(100))
        signal.pidfd_send_signal(first_pidfd, signal.SIGKILL)
        assert select.select([first_pidfd], [], [], 5.0)[0]
        assert not ended(pid, within_s=0.02)
        third, _ = served.request()
        assert int(third.recv(100)) not in (pid, 0)
        for job in (first, second, third):
            job.close()
        assert select.select([second_pidfd], [], [], 5.0)[0]


def test_a_worker_whose_job_fails_prints_nothing_and_runs_no_handlers(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(channel: socket.socket) -> None:
        os.write(1, MARKER.encode())
        os.write(2, MARKER.encode())
        raise ValueError(MARKER)

    with serving(monkeypatch, fail) as served:
        job, pidfd = served.request()
        assert job.recv(100) == b""
        assert select.select([pidfd], [], [], 5.0)[0]
    assert "".join(capfd.readouterr()) == ""


def test_a_worker_has_a_memory_limit_and_the_zygote_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def grow(channel: socket.socket) -> None:
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        try:
            bytearray(zygote.WORKER_ADDRESS_SPACE_BYTES)
        except MemoryError:
            channel.sendall(f"refused beyond {limit}".encode())

    with serving(monkeypatch, grow) as served:
        job, _pidfd = served.request()
        assert job.recv(100) == f"refused beyond {zygote.WORKER_ADDRESS_SPACE_BYTES}".encode()
        assert resource.prlimit(served.pid, resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_a_worker_cannot_speak_for_the_zygote(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(channel: socket.socket) -> None:
        links = [os.readlink(f"/proc/self/fd/{name}") for name in ("0", "1", "2")]
        sockets = [name for name in os.listdir("/proc/self/fd") if is_seqpacket(int(name))]
        channel.sendall(f"{set(links)} {sockets}".encode())

    with serving(monkeypatch, look) as served:
        job, _pidfd = served.request()
        assert job.recv(100) == b"{'/dev/null'} []"
        assert is_seqpacket(served.control.fileno())
