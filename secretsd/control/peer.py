"""Who is at the other end of a Unix socket, as the kernel says."""

from __future__ import annotations

import socket
import struct

from secretsd.control.access import Peer

_SO_PEERGROUPS = 59  # asm-generic/socket.h; Python has no name for it
_PEERGROUPS_BYTES = 1024  # the most that Python's getsockopt takes: 256 groups


def peer_of(connection: socket.socket) -> Peer:
    """Who is at the other end, as of its connect(2)."""
    pid, uid, gid = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Peer(pid, uid, frozenset({gid, *_peer_groups(connection)}))


def _peer_groups(connection: socket.socket) -> list[int]:
    """The supplementary groups; none where there are more than the buffer holds: rather refused."""
    try:
        packed = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _PEERGROUPS_BYTES)
    except OSError:
        return []
    return [group for (group,) in struct.iter_unpack("I", packed)]
