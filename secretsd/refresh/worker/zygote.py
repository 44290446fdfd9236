"""The process that workers are forked from.

It imports everything once, before any secret exists, stays single-threaded so that fork is safe, never
reads a secret itself, and ends when it was idle for a minute. The conductor talks to it over a SEQPACKET
socket on descriptor 0: one byte with a job socket in, one byte with the worker's pidfd out.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys

from secretsd import process
from secretsd.refresh.sources import registry
from secretsd.refresh.worker import worker

IDLE_S = 60.0
REQUEST = b"W"

# A fetch needs about 110 MiB of address space; a body that was made to be huge shall not get further.
WORKER_ADDRESS_SPACE_BYTES = 300 * 1024 * 1024


def main() -> None:
    parent_pid = int(sys.argv[1])
    process.forbid_dumps()
    process.die_with_parent(parent_pid)
    # Ctrl-C reaches the whole foreground group; the conductor ends us by closing the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=0)
    registry.preload(sys.argv[2].split(","))
    serve(control)


def serve(control: socket.socket, *, idle_s: float = IDLE_S) -> None:
    """Forks a worker for each request, until the other end closes or `idle_s` pass without work."""
    workers: dict[int, int] = {}  # pidfd -> pid
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        ready = poll.poll(None if workers else idle_s * 1000)
        if not ready:
            return
        for descriptor, _ in ready:
            if descriptor in workers:
                poll.unregister(descriptor)
                os.close(descriptor)
                os.waitpid(workers.pop(descriptor), 0)
            else:
                pidfd_and_pid = _fork_worker(control)
                if pidfd_and_pid is None:
                    return
                workers[pidfd_and_pid[0]] = pidfd_and_pid[1]
                poll.register(pidfd_and_pid[0], select.POLLIN)


def _fork_worker(control: socket.socket) -> tuple[int, int] | None:
    """The new worker's pidfd and pid; None when the conductor is gone."""
    data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    if not data or not descriptors:
        return None
    zygote_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become_worker(control, descriptors[0], zygote_pid)
    os.close(descriptors[0])
    # Nobody but this process reaps, so the pid cannot have been given to another process yet.
    pidfd = os.pidfd_open(pid)
    socket.send_fds(control, [REQUEST], [pidfd])
    return pidfd, pid


def _become_worker(control: socket.socket, job_descriptor: int, zygote_pid: int) -> None:
    status = 1
    try:
        process.die_with_parent(zygote_pid)
        process.limit_memory(WORKER_ADDRESS_SPACE_BYTES)
        control.close()
        _silence()
        worker.obey_alarm()
        with socket.socket(fileno=job_descriptor) as channel:
            worker.run(channel)
        status = 0
    finally:
        # Neither handlers nor destructors: whatever this process knows ends here.
        os._exit(status)


def _silence() -> None:
    """From here on secrets are near: nothing that prints may reach a log."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


if __name__ == "__main__":
    main()
