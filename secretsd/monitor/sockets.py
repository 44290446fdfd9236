"""The sockets that monitors connect to: a Unix socket of ours or of systemd's, and perhaps a port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from secretsd.monitor.http import MAX_HEAD_BYTES

log = logging.getLogger(__name__)

_BACKLOG = 64
_RETRY_S = 15.0

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Port:
    """An address of the loopback."""

    host: str
    number: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.number}" if ":" in self.host else f"{self.host}:{self.number}"


Place = Path | Port


def port_of(address: str) -> Port:
    """The `listen` of the configuration."""
    host, _, number = address.rpartition(":")
    return Port(host.strip("[]"), int(number))


class Sockets:
    """Sockets that are served for as long as `serve` runs."""

    def __init__(self, places: Sequence[Place], passed: Sequence[socket.socket] = ()) -> None:
        """`passed` are open already: systemd's."""
        self._places = places
        self._passed = passed
        self._problems: dict[Place, str] = {}
        self._open: dict[Place, asyncio.Server] = {}
        self._changed = asyncio.Event()

    @property
    def problems(self) -> list[str]:
        """Why a place is not served, for each that is not."""
        return list(self._problems.values())

    def adopt(self, places: Sequence[Place]) -> None:
        """From now on these are served. Those of before stay until all of these can be had."""
        if places != self._places:
            self._places = places
            self._problems = {place: why for place, why in self._problems.items() if place in places}
            self._changed.set()

    async def serve(self, serve: Serve) -> None:
        """Never ends by itself. A place that cannot be had is tried again: it may still be another's."""
        async with contextlib.AsyncExitStack() as passed:
            for listener in self._passed:
                passed.callback((await _start(serve, listener)).close)
            passed.callback(self._close_all)
            while True:
                self._changed.clear()
                places = self._places  # others may be adopted while these are opened
                wanted = [place for place in places if place not in self._open]
                waiting = [place for place in wanted if not await self._try(serve, place)]
                if not waiting:
                    self._close_all(but=places)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_RETRY_S if waiting else None):
                        await self._changed.wait()

    async def _try(self, serve: Serve, place: Place) -> bool:
        try:
            self._open[place] = await _start(serve, _bound(place))
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            if place not in self._problems:
                log.error("metrics cannot be served there", extra={"place": place, "reason": reason})
            self._problems[place] = f"metrics and health are not served on {place}: {reason}"
            return False
        self._problems.pop(place, None)
        return True

    def _close_all(self, but: Sequence[Place] = ()) -> None:
        for place in self._open.keys() - set(but):
            self._open.pop(place).close()
            if isinstance(place, Path):
                _remove(place)


async def _start(serve: Serve, listener: socket.socket) -> asyncio.Server:
    start = asyncio.start_unix_server if listener.family == socket.AF_UNIX else asyncio.start_server
    return await start(serve, sock=listener, limit=MAX_HEAD_BYTES, backlog=_BACKLOG)


def _bound(place: Place) -> socket.socket:
    """Raises: OSError."""
    if isinstance(place, Port):
        family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
        return socket.create_server((place.host, place.number), family=family, backlog=_BACKLOG)
    _make_way(place)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(place))
        place.chmod(0o666)  # anyone may connect: who it is decides
    except OSError:
        listener.close()
        raise
    return listener


def _make_way(path: Path) -> None:
    """Removes the socket of a daemon that is gone. Raises: OSError where another one listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            path.unlink()
            return
    raise FileExistsError("another process listens there")


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
