"""Who is at the other end of a connection, as the kernel says."""

from __future__ import annotations

import os
import select
import socket
import struct
from dataclasses import dataclass

from secretsd.signing.errors import SigningError
from secretsd.signing.model import Peer
from secretsd.signing.units import unit_of

_UCRED = struct.Struct("3i")  # pid, uid, gid (unix(7))
# asm-generic/socket.h; Python has no names for them.
_SO_PEERGROUPS = 59
_SO_PEERPIDFD = 77  # Linux 6.5
_PEERGROUPS_BYTES = 1024  # the most that Python's getsockopt takes: 256 groups
_START_FIELD = 19  # of what follows the command's ")" in /proc/PID/stat: starttime (proc(5))


@dataclass(frozen=True, slots=True)
class Identified:
    """A peer and the descriptor that stands for its process; whoever gets this closes the descriptor."""

    peer: Peer
    pidfd: int


def identify(connection: socket.socket) -> Identified:
    """The process that connected. It stays the same where the connection is handed on.

    Raises: SigningError peer-gone where it has ended already, OSError where no descriptor is left.
    """
    pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    try:
        pidfd = _pidfd(connection, pid)
    except ProcessLookupError:
        raise _gone() from None
    try:
        return Identified(_looked_up(pidfd, pid, uid, frozenset({gid, *_groups(connection)})), pidfd)
    except BaseException:
        os.close(pidfd)
        raise


def identify_sender(pid: int, uid: int, gid: int) -> Identified:
    """Another process than the one that connected, which sent a frame (SCM_CREDENTIALS).

    The kernel vouches for its uid and gid at the time of sending. Its pid may be another process's by now,
    so that nothing is read by it: no unit, no further groups. Raises: SigningError peer-gone, OSError.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except (ProcessLookupError, ValueError):
        raise _gone() from None
    return Identified(Peer(pid, uid, frozenset({gid}), None, 0), pidfd)


def is_alive(pidfd: int) -> bool:
    """Whether the process has not ended; a descriptor of one that has is readable (pidfd_open(2))."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return not poller.poll(0)


def _pidfd(connection: socket.socket, pid: int) -> int:
    try:
        return connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except ProcessLookupError:
        raise
    except OSError:
        # Before 6.5. The pid could be another process's by now: what only the socket says (uid, gid) stays
        # right, the unit is as old as the pid.
        return os.pidfd_open(pid)


def _groups(connection: socket.socket) -> tuple[int, ...]:
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _PEERGROUPS_BYTES)
    except OSError:
        return ()
    return struct.unpack(f"{len(raw) // 4}I", raw)


def _looked_up(pidfd: int, pid: int, uid: int, gids: frozenset[int]) -> Peer:
    """What /proc says of the process, read while it was alive."""
    unit = unit_of(_read(f"/proc/{pid}/cgroup"))
    start = _start_ticks(_read(f"/proc/{pid}/stat"))
    if not is_alive(pidfd):
        raise _gone()
    return Peer(pid, uid, gids, unit, start)


def _start_ticks(stat: str) -> int:
    fields = stat.rpartition(")")[2].split()
    return int(fields[_START_FIELD]) if len(fields) > _START_FIELD else 0


def _read(path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 4096).decode("utf-8", "surrogateescape")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _gone() -> SigningError:
    return SigningError("peer-gone", "the process that connected has ended")
