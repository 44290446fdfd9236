"""A process connects, ends, and its number becomes that of another unit's process.

To be run in a PID namespace of its own.

Prints, as JSON, what a check by number alone would have said, and what `identify` and `identify_sender` say.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
from pathlib import Path

from secretsd.signing import peer
from secretsd.signing.errors import SigningError
from secretsd.signing.units import unified_cgroup, unit_at

NOBODY, VICTIM = 65534, 65533


def unit_by_number(pid: int) -> str | None:
    return unit_at(unified_cgroup(Path(f"/proc/{pid}/cgroup").read_text()) or "")


def child(cgroup: Path | None = None, uid: int | None = None, pid: int | None = None) -> int:
    """Forks; a parent gets the child's pid, the child 0 once it is who it should be."""
    if pid is not None:
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
    forked = os.fork()
    if forked:
        return forked
    if cgroup is not None:
        (cgroup / "cgroup.procs").write_text("0")
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    return 0


def connected_by_nobody(listener: socket.socket) -> tuple[socket.socket, int]:
    """A connection whose process goes on until it is told to end; another one keeps its other end open."""
    pid = child(uid=NOBODY)
    if not pid:
        client = socket.socket(socket.AF_UNIX)
        client.connect(listener.getsockname())
        if os.fork() == 0:
            time.sleep(60)
        client.recv(1)
        os._exit(0)
    return listener.accept()[0], pid


def end(connection: socket.socket, pid: int) -> None:
    connection.send(b"x")
    os.waitpid(pid, 0)


def reused(pid: int, cgroup: Path, uid: int) -> int:
    """The victim, with the number that has become free."""
    got = child(cgroup, uid, pid)
    if not got:
        time.sleep(60)
        os._exit(0)
    while unit_by_number(got) is None:
        time.sleep(0.01)
    time.sleep(0.1)  # it gives up root
    return got


def said(connection: socket.socket) -> str | None:
    try:
        found = peer.identify(connection)
    except SigningError as error:
        return error.code
    os.close(found.pidfd)
    return found.peer.unit


def main(cgroup: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0pid-reuse")
    listener.listen()
    told: dict[str, object] = {}

    early, pid = connected_by_nobody(listener)
    identified = peer.identify(early)
    told["alive_before"] = peer.is_alive(identified.pidfd)
    end(early, pid)
    victim = reused(pid, cgroup, VICTIM)
    told["same_number"] = victim == pid
    by_number = struct.unpack("iII", early.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    told["naive"] = unit_by_number(by_number)
    told["identify"] = said(early)
    told["alive_after"] = peer.is_alive(identified.pidfd)
    told["sender"] = peer.identify_sender(identified, pid, VICTIM, VICTIM).unit
    peer._SO_PEERPIDFD = 0x7FFF  # as on a kernel before 6.5, which does not know it either
    told["old_kernel"] = said(early)
    os.kill(victim, 9)
    os.waitpid(victim, 0)

    honest = reused_honest(listener, cgroup)
    told["honest_old_kernel"] = said(honest)
    print(json.dumps(told))
    sys.stdout.flush()
    os._exit(0)  # as the namespace's init it takes all others with it


def reused_honest(listener: socket.socket, cgroup: Path) -> socket.socket:
    """A connection of the unit itself: the check must not refuse everybody."""
    if not child(cgroup, VICTIM):
        client = socket.socket(socket.AF_UNIX)
        client.connect(listener.getsockname())
        time.sleep(60)
    return listener.accept()[0]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
