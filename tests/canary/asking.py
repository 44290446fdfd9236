"""What a living daemon says to whoever asks it: metrics, health, status."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.canary.scan import Trace, traces_in
from tests.canary.spellings import Needles
from tests.canary.tally import Tally

_PATIENCE_S = 2.0


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


MONITORING = {path: _get(path) for path in ("/metrics", "/healthz", "/readyz?json")}
# What `history` shows is in the journal, which is a file.
CONTROL = {word: json.dumps({"command": word}).encode() + b"\n" for word in ("status", "cost")}
SIGNER = {"report": _get("/v1/secretsd/report")}


@dataclass(frozen=True, slots=True)
class Door:
    """A Unix socket, and what is asked there by the name it has in a report."""

    socket: Path
    requests: dict[str, bytes]

    def traces(self, wanted: Needles, tally: Tally, called: str) -> Iterator[Trace]:
        """What the answers show. It ends where nobody answers."""
        for name, request in self.requests.items():
            try:
                answer = _ask(self.socket, request)
            except OSError:
                return
            tally.answers += 1
            yield from traces_in(answer, f"{name} of {called}", wanted)


def _ask(path: Path, request: bytes) -> bytes:
    """Everything that is said before the other side hangs up, or is silent. Raises: OSError."""
    with contextlib.ExitStack() as stack:
        # A socket's address is 107 bytes at most, and pytest's directories have long names.
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, directory)
        connection = stack.enter_context(socket.socket(socket.AF_UNIX))
        connection.settimeout(_PATIENCE_S)
        connection.connect(f"/proc/self/fd/{directory}/{path.name}")
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer
