"""Serves metrics and health, on a Unix socket and, where it is configured, on a port of the loopback.

Nothing here may hold up the daemon or keep it from its work: each connection has a deadline, few are open at
a time, and a socket that cannot be had is tried again later.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from secretsd.control.access import ADMIN_GROUP
from secretsd.control.check import Check, warn
from secretsd.control.peer import peer_of
from secretsd.monitor import exposition, health, http
from secretsd.monitor.access import METRICS_GROUP, Readers
from secretsd.monitor.http import Answer, Asked
from secretsd.monitor.sockets import Sockets
from secretsd.signing.model import Peer

log = logging.getLogger(__name__)

# By whether who connects may read: those who may not do not keep the others out.
_MOST_CONNECTIONS = {True: 32, False: 8}
_REQUEST_S = 2.0
_SEND_S = 5.0
_NOT_FOUND = "there are /metrics, /healthz and /readyz here; ?verbose says why"


@dataclass(frozen=True, slots=True)
class Pages:
    """What one daemon has to say; both are called on its loop and do not block."""

    daemon: str
    metrics: Callable[[], exposition.Sheet]
    checks: Callable[[], Sequence[Check]]


class MonitorServer:
    """One for each daemon. All methods run on its event loop."""

    def __init__(self, pages: Pages, sockets: Sockets) -> None:
        self._pages = pages
        self.sockets = sockets
        self._readers = Readers(os.geteuid(), frozenset())
        self._open = {True: 0, False: 0}  # connections, by the same

    async def run(self) -> None:
        """Serves for ever."""
        self._readers = Readers(os.geteuid(), await asyncio.to_thread(_reading_groups))
        await self.sockets.serve(self._serve)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = _peer_of(writer.get_extra_info("socket"))
        may_read = peer is None or self._readers.include(peer)
        self._open[may_read] += 1
        try:
            if self._open[may_read] <= _MOST_CONNECTIONS[may_read]:
                answer, with_body = await self._answer(reader, peer if not may_read else None)
                writer.write(http.written(answer, with_body=with_body))
                async with asyncio.timeout(_SEND_S):
                    await writer.drain()
        except (OSError, TimeoutError):
            pass  # the client has gone, or does not read
        finally:
            self._open[may_read] -= 1
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, stranger: Peer | None) -> tuple[Answer, bool]:
        """The answer, and whether its body is sent."""
        asked = await _asked(reader)
        if isinstance(asked, Answer):
            return asked, True
        if stranger is not None:
            # Only now: what is closed before it was read is a connection reset, and no word arrives.
            return _refused(stranger), asked.wants_body
        try:
            return await self._page(asked), asked.wants_body
        except Exception as error:
            # Neither of the daemons has a bundle's secret or a key in what is looked at here.
            log.exception("a monitor was not answered")
            return http.said(500, f"internal error: {type(error).__name__}; see the journal"), True

    async def _page(self, asked: Asked) -> Answer:
        match asked.path:
            case "/metrics":
                # In a thread: of 500 bundles it takes a tenth of a second.
                encoded = asyncio.to_thread(exposition.encoded, self._pages.metrics(), asked.accepted)
                return Answer(200, *await encoded)
            case "/healthz":
                # That this is said at all is the answer: the loop turns.
                return self._health(asked) if asked.wishes else http.said(200, "ok")
            case "/readyz":
                return self._health(asked)
        return http.said(404, _NOT_FOUND)

    def _itself(self) -> Iterator[Check]:
        fix = "free the address, or name another one: see secretsd.toml(5); it is tried again by itself"
        for problem in self.sockets.problems:
            yield warn("metrics", problem, fix)

    def _health(self, asked: Asked) -> Answer:
        checks = [*self._pages.checks(), *self._itself()]
        word = health.word(checks)
        status = 503 if word == "not ready" and asked.path == "/readyz" else 200
        if "json" in asked.wishes:
            document = {"schema": health.SCHEMA, **health.document(self._pages.daemon, checks)}
            return Answer(status, json.dumps(document).encode() + b"\n", http.JSON)
        return http.said(status, health.text(checks) if "verbose" in asked.wishes else word)


async def _asked(reader: asyncio.StreamReader) -> Asked | Answer:
    try:
        async with asyncio.timeout(_REQUEST_S):
            return http.read(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.LimitOverrunError:
        return http.said(431, f"the head of a request has at most {http.MAX_HEAD_BYTES} bytes")
    except TimeoutError:
        return http.said(408, f"a request must be sent within {_REQUEST_S:.0f} s")
    except asyncio.IncompleteReadError:
        return http.said(400, "the request ends too early")


def _peer_of(connection: socket.socket) -> Peer | None:
    """None on a port, which knows of nobody who he is."""
    return peer_of(connection) if connection.family == socket.AF_UNIX else None


def _refused(peer: Peer) -> Answer:
    who = f"root and the groups {METRICS_GROUP} and {ADMIN_GROUP}"
    return http.said(403, f"uid {peer.uid} may not read this: only {who} may")


def _reading_groups() -> frozenset[int]:
    """Of those that this host has. May wait for a directory service."""
    found = set()
    for name in (METRICS_GROUP, ADMIN_GROUP):
        with contextlib.suppress(KeyError):
            found.add(grp.getgrnam(name).gr_gid)
    return frozenset(found)
