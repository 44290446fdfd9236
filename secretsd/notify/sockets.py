"""The helper's side of its socket: where it comes from, who is at the other end, and one bounded line."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import time
from dataclasses import dataclass

from secretsd.errors import UsageError
from secretsd.notify.protocol import MAX_REQUEST_BYTES, READ_TIMEOUT_S

_LISTEN_FD = 3  # sd_listen_fds(3)
_UCRED = struct.Struct("3i")  # pid, uid, gid: unix(7)
_BACKLOG = 128


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected, as the kernel names it."""

    pid: int
    uid: int


def inherited() -> socket.socket:
    """The listening socket that systemd passed, sd_listen_fds(3).

    Raises: UsageError when it passed none, or another kind.
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    if pid != str(os.getpid()) or count != "1":
        raise UsageError("no socket was passed: start secretsd-notify.socket, or give --socket PATH")
    os.set_inheritable(_LISTEN_FD, False)  # noqa: FBT003 - or a systemctl would hold it
    listener = socket.socket(fileno=_LISTEN_FD)
    listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if (listener.family, listener.type, listening) != (socket.AF_UNIX, socket.SOCK_STREAM, 1):
        raise UsageError("the socket that was passed is not a listening AF_UNIX stream socket")
    return listener


def bound(path: str) -> socket.socket:
    """A new listening socket at `path`, 0600; one that nobody listens on any more is replaced.

    Raises: UsageError when it cannot be made.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        if os.path.lexists(path) and stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
        listener.bind(path)
    except OSError as error:
        raise UsageError(f"no socket can be made at {path}: {error.strerror}") from None
    finally:
        os.umask(before)
    listener.listen(_BACKLOG)
    return listener


def unlink(path: str) -> None:
    """Takes away the name of a socket that `bound` made."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def peer_of(connection: socket.socket) -> Peer:
    """Who connected, by SO_PEERCRED."""
    pid, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Peer(pid=pid, uid=uid)


def read_line(connection: socket.socket) -> bytes:
    """The peer's first line, read within READ_TIMEOUT_S in all.

    Raises: UsageError when it is too long or too slow or does not end; OSError.
    """
    deadline = time.monotonic() + READ_TIMEOUT_S
    line = b""
    while not line.endswith(b"\n"):
        if len(line) > MAX_REQUEST_BYTES:
            raise UsageError(f"the request is longer than {MAX_REQUEST_BYTES} bytes")
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            part = connection.recv(MAX_REQUEST_BYTES + 1 - len(line))
        except TimeoutError:
            raise UsageError(f"no whole request came within {READ_TIMEOUT_S:.0f} s") from None
        if not part:
            raise UsageError("the connection ended before the end of the request")
        line += part
    connection.settimeout(READ_TIMEOUT_S)
    return line
