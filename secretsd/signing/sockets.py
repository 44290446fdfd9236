"""The listening sockets of the signer: systemd's, by their names, or our own."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from secretsd.config.signer import Signer
from secretsd.errors import LocalIOError

HTTP_NAME = "signer.sock"  # FileDescriptorName= of the socket units
NATIVE_NAME = "signer.seq"
METRICS_NAME = "metrics.sock"
_FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START, sd_listen_fds(3)
_BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class Sockets:
    """`own` are the paths to remove in the end: none of systemd's. Where systemd passes no socket for
    metrics, who serves them makes one: that it cannot be had must not keep the signer from its work."""

    http: socket.socket
    native: socket.socket
    own: tuple[Path, ...]
    metrics: tuple[socket.socket, ...] = ()

    def close(self) -> None:
        for listener in (self.http, self.native, *self.metrics):
            listener.close()
        for path in self.own:
            with contextlib.suppress(OSError):
                path.unlink()


def listen(config: Signer) -> Sockets:
    """Raises: LocalIOError."""
    passed = _passed_by_systemd()
    own: list[Path] = []
    http, *_ = passed.get(HTTP_NAME) or [_bind(config.socket, socket.SOCK_STREAM, own)]
    native, *_ = passed.get(NATIVE_NAME) or [_bind(config.seqpacket_socket, socket.SOCK_SEQPACKET, own)]
    # Accepted sockets inherit it: each native frame then says who sent it.
    native.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return Sockets(http, native, tuple(own), tuple(passed.get(METRICS_NAME, ())))


def _passed_by_systemd() -> dict[str, list[socket.socket]]:
    """By name, which several can have. The variables are removed: a child must not take them for its own."""
    pid, count, names = (os.environ.pop(f"LISTEN_{word}", "") for word in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal():
        return {}
    found: dict[str, list[socket.socket]] = {}
    for number, name in zip(range(int(count)), names.split(":"), strict=False):
        descriptor = _FIRST_DESCRIPTOR + number
        fcntl.fcntl(descriptor, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            found.setdefault(name, []).append(socket.socket(fileno=descriptor))
    return found


def _bind(path: Path, kind: socket.SocketKind, own: list[Path]) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
    try:
        _make_way(path, kind)
        listener.bind(os.fspath(path))
        # Anyone may connect: who it is decides.
        path.chmod(0o666)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise LocalIOError(
            f"cannot listen on {path}: {os.strerror(error.errno or 0)}",
            advice="check the directory's owner and mode, and that no other signer runs there",
        ) from None
    own.append(path)
    return listener


def _make_way(path: Path, kind: socket.SocketKind) -> None:
    """Removes the socket of a signer that is gone.

    Raises: OSError where one still listens, or where another kind of file is.
    """
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, kind) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
