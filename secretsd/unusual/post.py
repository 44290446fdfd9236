"""Sends the signer's findings to the refresher, which can tell somebody: the signer has no network.

A datagram each, so that the kernel says who has sent it and nobody waits for anybody. While no refresher
listens a finding is tried again for a day; it is in the signer's trail and metric all the same.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from secretsd.unusual import wire
from secretsd.unusual.findings import Finding

_MOST_WAITING = 100  # the oldest give way
_FIRST_RETRY_S, _LONGEST_RETRY_S = 1.0, 60.0
_KEPT_S = 86400.0


@dataclass(frozen=True, slots=True)
class _Letter:
    text: bytes
    written_at: float  # monotonic seconds


class Post:
    """To the socket at `path`. All methods are for the loop's thread, and never wait."""

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._waiting: deque[_Letter] = deque(maxlen=_MOST_WAITING)
        self._timer: asyncio.TimerHandle | None = None
        self._retry_s = _FIRST_RETRY_S

    def send(self, finding: Finding) -> None:
        """Now, or as soon as somebody takes it."""
        self._waiting.append(_Letter(wire.encoded(finding, time.time()), time.monotonic()))
        if self._timer is None:
            self._deliver()

    def close(self) -> None:
        """What nobody has taken by now is not sent."""
        if self._timer is not None:
            self._timer.cancel()

    def _deliver(self) -> None:
        self._timer = None
        oldest = time.monotonic() - _KEPT_S
        while self._waiting:
            if self._waiting[0].written_at >= oldest and not self._is_taken(self._waiting[0].text):
                self._timer = asyncio.get_running_loop().call_later(self._retry_s, self._deliver)
                self._retry_s = min(self._retry_s * 2, _LONGEST_RETRY_S)
                return
            self._waiting.popleft()
        self._retry_s = _FIRST_RETRY_S

    def _is_taken(self, text: bytes) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as connection:
            try:
                connection.sendto(text, self._path)
            except OSError:  # nobody is there, or does not read
                return False
        return True
