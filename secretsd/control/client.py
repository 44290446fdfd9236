"""Asking the daemon over the control socket, blocking; for secretsctl."""

from __future__ import annotations

import contextlib
import json
import socket
import time

from secretsd.control.protocol import Reply, decode_reply
from secretsd.errors import RefusedError, TryAgainError

_QUEUE_S = 5.0
_START = "systemctl status secretsd; systemctl start secretsd"


def ask(socket_path: str, request: dict[str, object], *, timeout_s: float) -> Reply:
    """Sends one request and waits for its whole answer, at most `timeout_s` between two pieces.

    Raises: TryAgainError where the daemon does not answer, RefusedError where it may not be asked.
    """
    line = json.dumps({key: value for key, value in request.items() if value is not None}).encode() + b"\n"
    pieces = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            _connect(connection, socket_path)
            # Who is turned away before the request was read finds the reason in the answer all the same.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(line)
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    pieces.append(piece)
        except PermissionError:
            raise RefusedError(f"may not connect to {socket_path}") from None
        except TimeoutError:
            raise TryAgainError(f"secretsd did not answer within {timeout_s:.0f} s", advice=_START) from None
        except OSError:
            raise TryAgainError(f"secretsd does not answer on {socket_path}", advice=_START) from None
    try:
        return decode_reply(b"".join(pieces))
    except (ValueError, IndexError):
        raise TryAgainError("secretsd ended before it had answered", advice=_START) from None


def _connect(connection: socket.socket, socket_path: str) -> None:
    """As connect(2), but a queue that is full for the moment is waited for. Raises: OSError."""
    deadline = time.monotonic() + _QUEUE_S
    while True:
        try:
            connection.connect(socket_path)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
