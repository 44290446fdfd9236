"""The control socket: reads a request, asks the kernel who sent it, answers."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import logging
import os
import pwd
import select
import socket
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from secretsd.config.models import Config
from secretsd.control import protocol
from secretsd.control.access import ADMIN_GROUP, Admins, is_allowed
from secretsd.control.peer import peer_of
from secretsd.control.protocol import Reply
from secretsd.control.recording import Recording
from secretsd.errors import ExitCode, LocalIOError, SecretsdError, UsageError
from secretsd.refresh.conductor import Conductor
from secretsd.signing.model import Peer

log = logging.getLogger(__name__)

_ONLY_ADMINS = f"only root and the group {ADMIN_GROUP}"
_MAX_CONNECTIONS = 1024  # in all; beyond it only administrators get in
_SEND_S = 10.0  # for a client that does not read its answer
_HANG_UP_CHECK_S = 1.0
_WARN_EVERY_S = 60.0  # per uid: nobody may fill the journal by asking


@dataclass(frozen=True, slots=True)
class _Limits:
    """How much one uid may have open, and how long its request may take to arrive."""

    connections: int
    request_s: float


_ADMIN_LIMITS = _Limits(512, 5.0)
_OWNER_LIMITS = _Limits(256, 5.0)
_STRANGER_LIMITS = _Limits(8, 1.0)


class ControlServer:
    """Serves the control socket of one conductor."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._recording = Recording(conductor)
        self._connections: Counter[int] = Counter()
        self._users: _Users | None = None
        self._looking_up = asyncio.Lock()
        self._last_warned: dict[int, float] = {}  # uid -> when its last refusal was logged, monotonic seconds
        self._server: asyncio.Server | None = None

    async def start(self, path: Path) -> None:
        """Raises: LocalIOError."""
        try:
            _make_way(path)
            limit, backlog = protocol.MAX_REQUEST_BYTES, _MAX_CONNECTIONS
            self._server = await asyncio.start_unix_server(self._serve, path, limit=limit, backlog=backlog)
            # Anyone may connect: who it is decides.
            path.chmod(0o666)
        except OSError as error:
            raise LocalIOError(
                f"cannot listen on the control socket {path}: {os.strerror(error.errno or 0)}",
                advice="check the directory's owner and mode",
            ) from None

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            peer = peer_of(writer.get_extra_info("socket"))
            self._connections[peer.uid] += 1
            try:
                await self._answer(peer, reader, writer)
            finally:
                self._connections[peer.uid] -= 1
                if not self._connections[peer.uid]:
                    del self._connections[peer.uid]
        except OSError:
            pass  # the client has gone: nobody is left to be told
        finally:
            # What was not sent by now is sent to nobody.
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()
            writer.close()

    async def _answer(self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        limits = (await self._users_for(peer)).limits(peer)
        if self._connections.total() > _MAX_CONNECTIONS and limits is not _ADMIN_LIMITS:
            return
        if self._connections[peer.uid] > limits.connections:
            reply = Reply(ExitCode.TRY_AGAIN, f"uid {peer.uid} has too many open requests")
        else:
            asked = asyncio.create_task(self._reply(peer, reader, limits.request_s))
            gone = asyncio.create_task(_hang_up(writer, after=asked))
            await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
            for task in (asked, gone):
                if not task.done():
                    task.cancel()
            if gone.done() and not asked.done():
                return
            reply = asked.result()
        writer.write(protocol.encode_reply(reply))
        async with asyncio.timeout(_SEND_S):
            await writer.drain()

    async def _reply(self, peer: Peer, reader: asyncio.StreamReader, request_s: float) -> Reply:
        try:
            async with asyncio.timeout(request_s):
                line = await reader.readuntil(b"\n")
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return Reply(ExitCode.USAGE, "the request is no single line of at most 4 KiB")
        try:
            return await self._run(peer, protocol.decode_request(line))
        except SecretsdError as error:
            return Reply(error.exit_code, str(error), {"advice": error.advice})
        except Exception as error:
            # No bundle's secret is in this process, and role credentials are in no local variable here.
            log.exception("control request failed")
            return Reply(ExitCode.BUG, f"internal error: {type(error).__name__}; see journalctl -u secretsd")

    async def _run(self, peer: Peer, request: dict[str, object]) -> Reply:
        command, bundle = str(request["command"]), request.get("bundle")
        # Printable, since `schema` takes a name that no configuration has, and an answer repeats it.
        if bundle is not None and not (isinstance(bundle, str) and bundle.isprintable()):
            raise UsageError("bundle must be a line of printable characters")
        users = await self._users_for(peer)
        if bundle is None and command == "status" and not users.admins.include(peer):
            return self._own_status(peer, users)
        owner_uid = users.owners.get(bundle) if bundle is not None else None
        if not is_allowed(command, peer=peer, admins=users.admins, owner_uid=owner_uid):
            self._warn(peer, command)
            self._recording.refused(command, bundle, peer)
            lately = (
                "" if owner_uid is not None else "; a bundle added lately needs systemctl reload secretsd"
            )
            return Reply(ExitCode.REFUSED, f"uid {peer.uid} may not do this: {_ONLY_ADMINS} may{lately}")
        return await self._recording.run(command, bundle, {**request, "by": f"uid {peer.uid}"}, peer)

    def _own_status(self, peer: Peer, users: _Users) -> Reply:
        own = [name for name, uid in users.owners.items() if uid == peer.uid]
        if not own:
            return Reply(ExitCode.REFUSED, f"uid {peer.uid} owns no bundle: {_ONLY_ADMINS} see all")
        return self._recording.commands.status(own)

    async def _users_for(self, peer: Peer) -> _Users:
        """Who is who, as far as `peer` is concerned: root never waits for a directory service."""
        unasked = _Users(self._conductor.config, Admins(os.geteuid(), None), {})
        return unasked if unasked.admins.include(peer) else await self._known_users()

    async def _known_users(self) -> _Users:
        """Looked up once for each configuration, in one thread however many wait for it."""
        async with self._looking_up:
            if self._users is None or self._users.config is not self._conductor.config:
                self._users = await asyncio.to_thread(_look_up, self._conductor.config)
            return self._users

    def _warn(self, peer: Peer, command: str) -> None:
        now = time.monotonic()
        if now - self._last_warned.get(peer.uid, -_WARN_EVERY_S) >= _WARN_EVERY_S:
            self._last_warned[peer.uid] = now
            fields = {"command": command, "uid": peer.uid, "pid": peer.pid}
            log.warning("control request refused", extra=fields)


@dataclass(frozen=True, slots=True)
class _Users:
    """Who is who for one configuration."""

    config: Config
    admins: Admins
    owners: Mapping[str, int]  # bundle -> uid; without those whose owner this host does not know

    def limits(self, peer: Peer) -> _Limits:
        if self.admins.include(peer):
            return _ADMIN_LIMITS
        return _OWNER_LIMITS if peer.uid in self.owners.values() else _STRANGER_LIMITS


def _look_up(config: Config) -> _Users:
    owners = {}
    for name, bundle in config.bundles.items():
        with contextlib.suppress(KeyError):
            owners[name] = os.geteuid() if bundle.owner is None else pwd.getpwnam(bundle.owner).pw_uid
    group = None
    with contextlib.suppress(KeyError):
        group = grp.getgrnam(ADMIN_GROUP).gr_gid
    return _Users(config, Admins(os.geteuid(), group), owners)


def _make_way(path: Path) -> None:
    """Removes what a killed daemon left. Raises: LocalIOError where another daemon listens; OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            path.unlink()
            return
    raise LocalIOError(
        f"another secretsd listens on the control socket {path}",
        advice="stop it, or give this one a control_socket of its own",
    )


async def _hang_up(writer: asyncio.StreamWriter, *, after: asyncio.Task[Reply]) -> None:
    """Returns when the client has closed its end, so that nobody is waited for who has gone.

    One that has only closed its sending direction still wants its answer.
    """
    poll = select.poll()
    poll.register(writer.get_extra_info("socket").fileno(), select.POLLHUP)
    while not any(event & select.POLLHUP for _, event in poll.poll(0)):
        await asyncio.wait({after}, timeout=_HANG_UP_CHECK_S)
