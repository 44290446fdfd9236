"""Who is at the other end of a Unix socket, as the kernel says."""

from __future__ import annotations

import os
import socket

from secretsd.signing.errors import SigningError
from secretsd.signing.model import Peer
from secretsd.signing.peer import credentials, identify


def peer_of(connection: socket.socket) -> Peer:
    """Who is at the other end, as of its connect(2). Raises: OSError."""
    try:
        identified = identify(connection)
    except SigningError:  # it has ended: no unit can be told any more
        pid, uid, gid = credentials(connection)
        return Peer(pid, uid, frozenset({gid}), None, 0)
    os.close(identified.pidfd)
    return identified.peer
