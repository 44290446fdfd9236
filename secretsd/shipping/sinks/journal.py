"""The sink in this host's journal, by journald's native protocol: one datagram an entry."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import struct
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from secretsd.audit.file import stamp
from secretsd.errors import FailureClass
from secretsd.shipping.sinks.interface import Sent, SinkError
from secretsd.shipping.sinks.texts import failure_of

if TYPE_CHECKING:
    from secretsd.audit.chain import Head
    from secretsd.config.shipping import AuditJournal
    from secretsd.shipping.pieces import Piece

# What journalctl finds anchors by: MESSAGE_ID=... A random number of 128 bits, made once.
ANCHOR_ID = "77fcbe44f08744878d3f5be2c77cb6da"
_IDENTIFIER = "secretsd-audit"
_INFO, _NOTICE, _WARNING = 6, 5, 4
_BUFFER_BYTES = 8 * 1024 * 1024  # as much as the kernel lets us have: one entry has to fit
_FULL = frozenset({errno.EAGAIN, errno.ENOBUFS})
_PAUSES_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
_MEMBERS = ("action", "result", "reason", "key", "mechanism", "phase", "bundle", "secret", "unit")


class Journal:
    """A `Sink` for journald."""

    name = "journal"
    limit_bytes = 262144
    look_every_s = 1.0
    batch_age_s = 0.0
    keeps_pieces = False

    def __init__(self, config: AuditJournal) -> None:
        self._path = str(config.socket)
        self._socket = socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)

    def is_due(self, piece: Piece, waited_s: float, *, is_finished: bool) -> bool:
        del piece, waited_s, is_finished
        return True

    def send(self, daemon: str, piece: Piece, receipt: str) -> Sent:
        """As many records as journald takes at once. What is too large for it is refused for good."""
        del receipt
        records = refused = 0
        for head, line in piece.lines():
            try:
                refused += not self._send(entry_of(daemon, head, line))
            except SinkError:
                if not records:
                    raise
                break
            records += 1
        return Sent(records, refused=refused)

    def anchor(self, daemon: str, head: Head, time_ns: int) -> None:
        self._send(
            encoded(
                {
                    "MESSAGE": f"the audit chain of {daemon} ends with record {head.seq}",
                    "MESSAGE_ID": ANCHOR_ID,
                    "PRIORITY": str(_NOTICE),
                    "SYSLOG_IDENTIFIER": _IDENTIFIER,
                    "SECRETSD_CHAIN": daemon,
                    "SECRETSD_ANCHOR": f"{daemon}:{head.seq}:{head.hash.decode()}",
                    "SECRETSD_TIME": stamp(time_ns),
                }
            )
        )

    def _send(self, entry: bytes) -> bool:
        """Returns whether it fits at all. Raises: SinkError."""
        code = self._attempt(entry)
        # The kernel queues few datagrams (net.unix.max_dgram_qlen, often 10): more of them take a moment.
        for pause_s in _PAUSES_S:
            if code not in _FULL:
                break
            time.sleep(pause_s)
            code = self._attempt(entry)
        if code in (0, errno.EMSGSIZE):
            return not code
        ours = "journal-full" if code in _FULL else "journal-unreachable"
        name = errno.errorcode.get(code, str(code))
        raise SinkError(failure_of(ours, FailureClass.TRANSIENT, self.name, name))

    def _attempt(self, entry: bytes) -> int:
        """0, or the number of what went wrong."""
        try:
            # To the path each time: whoever listens there now.
            self._socket.sendto(entry, self._path)
        except OSError as error:
            return error.errno or errno.EIO
        return 0


def entry_of(daemon: str, head: Head, line: bytes) -> bytes:
    """A record as an entry: the whole record is its message, and what one looks for stands in fields."""
    said: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        said = json.loads(line)
    fields = {
        "MESSAGE": line.decode("utf-8", "replace").rstrip("\n"),
        "PRIORITY": str(_WARNING if said.get("result") in ("refused", "failed") else _INFO),
        "SYSLOG_IDENTIFIER": _IDENTIFIER,
        "SECRETSD_CHAIN": daemon,
        "SECRETSD_SEQ": str(head.seq),
        "SECRETSD_HASH": head.hash.decode(),
    }
    for member in _MEMBERS:
        if isinstance(value := said.get(member), str):
            fields[f"SECRETSD_{member.upper()}"] = value
    return encoded({**fields, **_actor(said.get("actor"))})


def _actor(actor: object) -> dict[str, str]:
    if not isinstance(actor, dict):
        return {"SECRETSD_ACTOR": str(actor)} if isinstance(actor, str) else {}
    said = {"SECRETSD_ACTOR_UID": actor.get("uid"), "SECRETSD_ACTOR_UNIT": actor.get("unit")}
    return {name: str(value) for name, value in said.items() if value is not None}


def encoded(fields: Mapping[str, str]) -> bytes:
    """Fields as the native protocol has them: a value with a line's end in it goes with its length."""
    parts: list[bytes] = []
    for name, value in fields.items():
        data = value.encode("utf-8", "replace")
        if b"\n" in data:
            parts.append(name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n")
        else:
            parts.append(name.encode() + b"=" + data + b"\n")
    return b"".join(parts)
