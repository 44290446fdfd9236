"""Who is at the other end of a socket, as the kernel says, and never as the peer says.

A connection names the process that connected, also after it was handed on. Of that process everything is
read while a descriptor of it (pidfd_open(2)) shows that it lives: its number cannot have become another's.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from dataclasses import dataclass

from secretsd.signing.errors import asker_gone
from secretsd.signing.model import Peer
from secretsd.signing.units import unified_cgroup, unit_at

_SO_PEERGROUPS = 59  # asm-generic/socket.h; Python has no names for these two
_SO_PEERPIDFD = 77  # Linux 6.5
CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid (unix(7))
_MOST_BYTES = 1024  # that Python's getsockopt takes: 256 groups
_PROC_BYTES = 8192  # more than a line of proc(5) with the longest control group


@dataclass(frozen=True, slots=True)
class Identified:
    """A peer and a descriptor of its process, which whoever asked for it closes."""

    peer: Peer
    pidfd: int


def credentials(connection: socket.socket) -> tuple[int, int, int]:
    """Process, user and group that connected, as the kernel noted them. Does not block."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    pid, uid, gid = CREDENTIALS.unpack(packed)
    return pid, uid, gid


def identify(connection: socket.socket) -> Identified:
    """Who connected. Blocks for about 50 us: two reads in /proc.

    The unit is None where /proc does not show other users' processes (hidepid, ProtectProc).

    Raises: SigningError peer-gone; OSError where no descriptor is left.
    """
    pid, uid, gid = credentials(connection)
    pidfd, is_the_connector = _descriptor(connection, pid)
    try:
        unit = _unit(pid) if is_the_connector or _effective_uid(pid) == uid else None
        peer = Peer(pid, uid, _groups(connection) | {gid}, unit, _start_ticks(pid))
        if not is_alive(pidfd):
            raise asker_gone()
    except BaseException:
        os.close(pidfd)
        raise
    return Identified(peer, pidfd)


def identify_sender(connected: Identified, pid: int, uid: int, gid: int) -> Peer:
    """Who sent one frame, by the SCM_CREDENTIALS that came with it. Does not block.

    The process that connected is that peer. Of any other only user and group are certain, for which the
    kernel vouches: by the time its unit could be read, its number may be another's.
    """
    if pid == connected.peer.pid and is_alive(connected.pidfd):
        return connected.peer
    return Peer(pid, uid, frozenset({gid}), None, 0)


def is_alive(pidfd: int) -> bool:
    """Whether the process has not ended. Does not block."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return not poll.poll(0)


def _descriptor(connection: socket.socket, pid: int) -> tuple[int, bool]:
    """A pidfd, and whether it is surely of the process that connected: else `pid` may be another's by now."""
    try:
        return connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD), True
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        if error.errno != errno.ENOPROTOOPT:  # which is what a kernel before 6.5 says
            raise asker_gone() from None
    try:
        return os.pidfd_open(pid), False
    except (ProcessLookupError, ValueError):
        raise asker_gone() from None


def _groups(connection: socket.socket) -> frozenset[int]:
    """The supplementary groups; none where there are more than the buffer holds: rather refused."""
    try:
        packed = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_BYTES)
    except OSError:
        return frozenset()
    return frozenset(group for (group,) in struct.iter_unpack("I", packed))


def _unit(pid: int) -> str | None:
    cgroup = unified_cgroup(_read(pid, "cgroup"))
    return None if cgroup is None else unit_at(cgroup)


def _start_ticks(pid: int) -> int:
    """Field 22 of proc(5)'s stat; 0 where it cannot be read. The second, a name, may hold blanks and ")"."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 else 0


def _effective_uid(pid: int) -> int | None:
    """Whether a process found by its number can be the one that connected: another user's cannot.

    What is left without SO_PEERPIDFD is a process of the same user, who could as well ask from within it.
    """
    for line in _read(pid, "status").split("\n"):
        if line.startswith("Uid:"):
            return int(line.split()[2])
    return None


def _read(pid: int, name: str) -> str:
    try:
        # Not open(): its layers cost more than the read.
        descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, _PROC_BYTES).decode(errors="replace")
    except OSError:  # ESRCH: it ended
        return ""
    finally:
        os.close(descriptor)
