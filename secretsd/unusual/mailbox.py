"""Where the refresher hears of what the signer has found. Takes datagrams of one user, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import pwd
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from secretsd.errors import LocalIOError
from secretsd.signing.buckets import TokenBucket
from secretsd.signing.model import RateLimit
from secretsd.signing.peer import CREDENTIALS
from secretsd.unusual import wire
from secretsd.unusual.findings import Finding

log = logging.getLogger(__name__)

SIGNER_USER = "secretsd-signer"
_PACE = RateLimit(32, 1.0)  # datagrams: a signer that was taken over must not keep us busy
_COMPLAINTS = RateLimit(1, 60.0)
# Room for the sender's credentials alone: the kernel closes descriptors that somebody passes.
_ANCILLARY_BYTES = socket.CMSG_LEN(CREDENTIALS.size)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who is listened to; the directory of the socket is given to the group, if there is one."""

    uid: int
    gid: int | None = None

    @classmethod
    def installed(cls) -> Self | None:
        """The user of the installed signer; None on a host that has none."""
        try:
            user = pwd.getpwnam(SIGNER_USER)
        except KeyError:
            return None
        return cls(user.pw_uid, user.pw_gid)


class Mailbox:
    """The socket at `path`; `hear` is called with each finding, and when it was found (since the epoch)."""

    def __init__(self, path: Path, hear: Callable[[Finding, float], None]) -> None:
        self._path, self._hear = path, hear
        self._uid: int | None = None
        self._pace, self._complaints = TokenBucket(_PACE), TokenBucket(_COMPLAINTS)
        self._socket: socket.socket | None = None
        self._pause: asyncio.TimerHandle | None = None

    def open(self, sender: Sender | None) -> None:
        """Listens to `sender`, and to nobody where there is none. Raises: LocalIOError.

        Where it listens already, it lets the sender through anew: on each reload systemd takes the runtime
        directory back, owner, group and mode.
        """
        if sender is None:
            return
        self._uid = sender.uid
        try:
            if sender.gid is not None:
                _give(self._path.parent, sender.gid)
            if self._socket is not None:
                return
            self._path.unlink(missing_ok=True)  # what a killed daemon left; there is one for each runtime_dir
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind(os.fspath(self._path))
            self._path.chmod(0o666)  # who may get here is what the directory says, and the kernel who it was
        except OSError as error:
            self.close()
            raise LocalIOError(
                f"cannot listen for the signer on {self._path}: {error.strerror or error}",
                advice="check the directory's owner and mode, then: systemctl reload secretsd; until then"
                " alert_command hears nothing of keys",
            ) from None
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        if self._socket is not None:
            with contextlib.suppress(RuntimeError):
                asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _read(self) -> None:
        loop = asyncio.get_running_loop()
        while self._pace.take(loop.time()):
            if not self._take():
                return
        if self._socket is not None:
            loop.remove_reader(self._socket)
            self._pause = loop.call_later(_PACE.period_s, self._go_on)

    def _go_on(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket, self._read)

    def _take(self) -> bool:
        """One datagram; whether there was one."""
        if self._socket is None:
            return False
        try:
            text, ancillary, flags, _ = self._socket.recvmsg(wire.MAX_BYTES, _ANCILLARY_BYTES)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EINTR):
                log.error(
                    "cannot read what the signer tells", extra={"reason": os.strerror(error.errno or 0)}
                )
            return False
        if _sender(ancillary) != self._uid or flags & socket.MSG_TRUNC:
            return True
        try:
            finding, at = wire.decoded(text)
        except ValueError:
            if self._complaints.take(asyncio.get_running_loop().time()):
                log.warning("what the signer has found is not understood: is it of another version?")
        else:
            self._hear(finding, at)
        return True


def _give(directory: Path, gid: int) -> None:
    """Lets a group pass through. Else any user could keep us busy with datagrams. Raises: OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, -1, gid)
        os.fchmod(descriptor, 0o710)
    finally:
        os.close(descriptor)


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(data) == CREDENTIALS.size:
            _, uid, _ = CREDENTIALS.unpack(data)
            return int(uid)
    return None
