"""The accept loop of a socket: who may have how many connections, before anything is read from them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from secretsd.signing.errors import SigningError
from secretsd.signing.peer import Identified, credentials, identify

log = logging.getLogger(__name__)

_AT_ONCE = 8  # accepted before the loop looks at its connections: who is at the door makes them wait
_PAUSE_S = 0.05  # after EMFILE and its like: the queue stays readable, and the loop would spin
_WARN_EVERY_S = 10.0
_RESERVE = 4  # the last quarter of all connections is for users who have few
_FEW = 8


class Slots:
    """Connections of all doors together, counted by user."""

    def __init__(self, *, total: int, per_user: int) -> None:
        self._total = total
        self._per_user = per_user
        self._of_user: Counter[int] = Counter()
        self._open = 0

    def __len__(self) -> int:
        return self._open

    def resize(self, *, per_user: int) -> None:
        self._per_user = per_user

    def take(self, uid: int) -> bool:
        """Whether one more of this user gets in."""
        is_scarce = self._open >= self._total - self._total // _RESERVE
        most = min(self._per_user, _FEW) if is_scarce else self._per_user
        if self._of_user[uid] >= most or self._open >= self._total:
            return False
        self._of_user[uid] += 1
        self._open += 1
        return True

    def give_back(self, uid: int) -> None:
        self._of_user[uid] -= 1
        self._open -= 1
        if not self._of_user[uid]:
            del self._of_user[uid]


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a door does with those it lets in, and with those it does not."""

    welcome: Callable[[socket.socket, Identified, Callable[[], None]], None]  # the last gives the slot back
    turned_away: bytes  # what is sent before the connection is closed


class Door:
    """Accepts connections on `listener`, which it does not close where systemd owns it."""

    def __init__(self, listener: socket.socket, slots: Slots, greeting: Greeting) -> None:
        self._listener = listener
        self._slots = slots
        self._greeting = greeting
        self._loop = asyncio.get_running_loop()
        self._last_warned_s = -_WARN_EVERY_S
        self.turned_away = 0
        self._is_open = False
        listener.settimeout(0)

    def open(self) -> None:
        self._is_open = True
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """No further connections; those that wait stay in the listener's queue for the next process."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._listener.fileno())

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            self._receive(connection)

    def _receive(self, connection: socket.socket) -> None:
        _, uid, _ = credentials(connection)
        if not self._slots.take(uid):
            self._turn_away(connection, uid)
            return
        try:
            identified = identify(connection)
        except (SigningError, OSError):
            # Gone already, or there is no descriptor left to hold on to it.
            self._slots.give_back(uid)
            connection.close()
            return
        connection.settimeout(0)
        self._greeting.welcome(connection, identified, lambda: self._slots.give_back(uid))

    def _turn_away(self, connection: socket.socket, uid: int) -> None:
        self.turned_away += 1
        self._warn("connections turned away: one user has too many", uid=uid, count=self.turned_away)
        connection.settimeout(0)
        with contextlib.suppress(OSError):  # told or not, it is closed
            connection.send(self._greeting.turned_away, socket.MSG_NOSIGNAL)
        connection.close()

    def _pause(self, error: OSError) -> None:
        self._warn(
            "connections cannot be accepted for the moment", reason=os.strerror(error.errno or errno.EIO)
        )
        self.close()
        self._loop.call_later(_PAUSE_S, self.open)

    def _warn(self, event: str, **fields: object) -> None:
        now_s = self._loop.time()
        if now_s - self._last_warned_s >= _WARN_EVERY_S:
            self._last_warned_s = now_s
            log.warning(event, extra=fields)
