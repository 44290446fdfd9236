"""The control socket: reads a request, asks the kernel who sent it, answers."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import logging
import os
import pwd
import socket
import struct
from collections import Counter
from pathlib import Path

from secretsd.control import protocol
from secretsd.control.access import Admins, Peer, is_allowed
from secretsd.control.commands import Commands
from secretsd.control.protocol import Reply
from secretsd.errors import ExitCode, LocalIOError, SecretsdError, UsageError
from secretsd.refresh.conductor import Conductor

log = logging.getLogger(__name__)

ADMIN_GROUP = "secretsd-admin"
_ONLY_ADMINS = f"only root and the group {ADMIN_GROUP}"
_SO_PEERGROUPS = 59  # asm-generic/socket.h; Python has no name for it
_PEERGROUPS_BYTES = 1024  # the most that Python's getsockopt takes: 256 groups
_REQUEST_TIMEOUT_S = 5.0
_CONNECTIONS_PER_UID = 64


class ControlServer:
    """Serves the control socket of one conductor."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._commands = Commands(conductor)
        self._connections: Counter[int] = Counter()
        self._server: asyncio.Server | None = None

    async def start(self, path: Path) -> None:
        """Raises: LocalIOError."""
        try:
            # Anyone may connect: who it is decides. A leftover of a killed daemon gives way.
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            self._server = await asyncio.start_unix_server(
                self._serve, path, limit=protocol.MAX_REQUEST_BYTES
            )
            path.chmod(0o666)
        except OSError as error:
            raise LocalIOError(
                f"cannot listen on the control socket {path}: {os.strerror(error.errno or 0)}",
                advice="check the directory's owner and that no other secretsd runs",
            ) from None

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = peer_of(writer.get_extra_info("socket"))
        self._connections[peer.uid] += 1
        try:
            reply = await self._reply(peer, reader)
            writer.write(protocol.encode_reply(reply))
            await writer.drain()
        except ConnectionError:
            pass  # the client has gone: nobody is left to be told
        finally:
            self._connections[peer.uid] -= 1
            writer.close()

    async def _reply(self, peer: Peer, reader: asyncio.StreamReader) -> Reply:
        if self._connections[peer.uid] > _CONNECTIONS_PER_UID:
            return Reply(ExitCode.TRY_AGAIN, f"uid {peer.uid} has too many open requests")
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                line = await reader.readuntil(b"\n")
            return await self._run(peer, protocol.decode_request(line))
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return Reply(ExitCode.USAGE, "the request is no single line of at most 4 KiB")
        except SecretsdError as error:
            return Reply(error.exit_code, str(error), {"advice": error.advice})
        except Exception as error:
            # No secret is in this process, so its traceback may be logged.
            log.exception("control request failed")
            return Reply(ExitCode.BUG, f"internal error: {type(error).__name__}; see journalctl -u secretsd")

    async def _run(self, peer: Peer, request: dict[str, object]) -> Reply:
        command, bundle = str(request["command"]), request.get("bundle")
        if bundle is not None and not isinstance(bundle, str):
            raise UsageError("bundle must be a string")
        admins = Admins(os.geteuid(), _admin_group())
        if bundle is None and command == "status" and not admins.include(peer):
            return self._own_status(peer)
        owner_uid = self._owner_uid(bundle)
        if not is_allowed(command, peer=peer, admins=admins, owner_uid=owner_uid):
            fields = {"command": command, "uid": peer.uid, "pid": peer.pid}
            log.warning("control request refused", extra=fields)
            return Reply(ExitCode.REFUSED, f"uid {peer.uid} may not do this: {_ONLY_ADMINS} may")
        return await self._commands.run(command, bundle, request)

    def _own_status(self, peer: Peer) -> Reply:
        own = [name for name in self._conductor.config.bundles if self._owner_uid(name) == peer.uid]
        if not own:
            return Reply(ExitCode.REFUSED, f"uid {peer.uid} owns no bundle: {_ONLY_ADMINS} see all")
        return self._commands.status(own)

    def _owner_uid(self, bundle: str | None) -> int | None:
        configured = self._conductor.config.bundles.get(bundle) if bundle is not None else None
        if configured is None:
            return None
        if configured.owner is None:
            return os.geteuid()
        try:
            return pwd.getpwnam(configured.owner).pw_uid
        except KeyError:
            return None


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


def _admin_group() -> int | None:
    try:
        return grp.getgrnam(ADMIN_GROUP).gr_gid
    except KeyError:
        return None
