"""The running signer: its parts put together, a reload, a stop that lets requests under way end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from pathlib import Path

from secretsd.audit.log import AuditLog
from secretsd.config.load import load
from secretsd.config.models import Config
from secretsd.config.signer import INSTALLED_SIGNER_DIR, Signer
from secretsd.errors import ConfigError, SecretsdError
from secretsd.service import Service
from secretsd.signing import native
from secretsd.signing.administration import Administration
from secretsd.signing.desk import Caller, Desk
from secretsd.signing.dispatch import Dispatcher
from secretsd.signing.doors import Door, Greeting, Slots
from secretsd.signing.http.connection import TURNED_AWAY, HttpConnection
from secretsd.signing.listeners import Listeners
from secretsd.signing.peer import Identified
from secretsd.signing.pkcs11.token import Token
from secretsd.signing.resolve import policy_of
from secretsd.signing.trail import Trail

log = logging.getLogger(__name__)

AUDIT_GROUP = "secretsd-audit"
_MOST_CONNECTIONS = 2048  # each has two descriptors, its own and the pidfd of its peer
_DRAIN_S = 5.0


class House:
    """One signer. All methods are for the loop's thread."""

    def __init__(self, config_path: Path, config: Signer, listeners: Listeners) -> None:
        self._config_path = config_path
        self._config = config
        self._audit = AuditLog(config.state_dir / "audit", group=AUDIT_GROUP)
        self._audit.open()
        self._token = Token(config)
        self._dispatcher = Dispatcher(
            self._token,
            sessions=config.sessions,
            inline=config.dispatch == "inline",
            queue=config.queue,
            hang_limit_s=config.hang_limit_s,
        )
        trail = Trail(self._audit)
        self._desk = Desk(config, policy_of(config), self._token, self._dispatcher, trail)
        self._administration = Administration(self._desk)
        self._slots = Slots(total=_MOST_CONNECTIONS, per_user=config.max_connections_per_user)
        self._doors = (
            Door(listeners.http, self._slots, Greeting(self._welcome_http, TURNED_AWAY)),
            Door(listeners.native, self._slots, Greeting(self._welcome_native, native.TURNED_AWAY)),
        )
        self._connections: set[native.NativeConnection | HttpConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Lets requests in; they wait where the token is not there yet."""
        self._desk.trail.event("start")
        self._dispatcher.bring_up()
        for door in self._doors:
            door.open()

    def reload(self) -> None:
        """Reads the configuration anew; one that cannot be used changes nothing."""
        try:
            config = load(self._config_path).signer
            if config is None:
                raise ConfigError([f"{self._config_path}: there is no table [signer]"])
        except ConfigError as error:
            for line in error.problems:
                log.error(line)
            log.error("the configuration stays as it was: correct it, then reload again")
            self._desk.trail.event("reload", error)
            return
        self._warn_of_what_needs_a_restart(config)
        self._config = config
        self._desk.configure(config, policy_of(config))
        self._slots.resize(per_user=config.max_connections_per_user)
        self._token.configure(config)
        self._dispatcher.bring_up()
        self._desk.trail.event("reload")
        log.info("configuration read anew", extra={"keys": len(config.keys)})

    async def stop(self) -> None:
        """No new requests; waits for those under way, at most 5 s."""
        for door in self._doors:
            door.close()
        self._desk.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while self._desk.under_way:
                    await asyncio.sleep(0.01)
        for connection in list(self._connections):
            connection.close()
        self._dispatcher.stop()
        self._desk.trail.event("stop")
        self._audit.close()

    def _welcome_native(
        self, connection: socket.socket, identified: Identified, leave: Callable[[], None]
    ) -> None:
        self._connections.add(native.NativeConnection(connection, self._desk, identified, leave))
