"""The running signer: its parts put together, a reload, a stop that lets requests under way end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from secretsd.audit.keeper import Keeper
from secretsd.audit.log import AUDIT_GROUP, AuditLog
from secretsd.audit.pruning import Pruner
from secretsd.config.audit import Audit
from secretsd.config.load import load
from secretsd.config.signer import Signer
from secretsd.config.unusual import Unusual
from secretsd.errors import ConfigError
from secretsd.signing import native
from secretsd.signing.administration import Administration
from secretsd.signing.authorize import Policy
from secretsd.signing.desk import Caller, Desk
from secretsd.signing.dispatch import Dispatcher
from secretsd.signing.doors import Door, Greeting, Slots
from secretsd.signing.errors import SigningError
from secretsd.signing.http import envelope
from secretsd.signing.http.connection import HttpConnection
from secretsd.signing.http.routes import Routes
from secretsd.signing.peer import Identified
from secretsd.signing.pkcs11.token import Token
from secretsd.signing.resolve import resolve
from secretsd.signing.sockets import Sockets
from secretsd.signing.trail import Trail
from secretsd.unusual.findings import Thing
from secretsd.unusual.post import Post
from secretsd.unusual.sentry import Sentry
from secretsd.unusual.wire import socket_of

log = logging.getLogger(__name__)

_MOST_CONNECTIONS = 2048
_OTHER_DESCRIPTORS = 64  # the token's, the audit log's: a token without any is lost for everybody
_DRAIN_S = 5.0
_PATIENCE_S = 2.0
# What a running process cannot change: its sockets, its files, its threads, its token.
_NEEDS_A_RESTART = frozenset(
    {
        *("module", "token", "slot", "sessions", "dispatch", "queue", "hang_limit_s"),
        *("socket", "seqpacket_socket", "metrics_socket", "state_dir"),
    }
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What of the configuration is the signer's."""

    signer: Signer
    audit: Audit
    unusual: Unusual
    unusual_socket: Path  # where the refresher hears of what was found unusual


class House:
    """One signer. All methods are for the loop's thread."""

    def __init__(self, config_path: Path, settings: Settings, sockets: Sockets) -> None:
        """Raises: LocalIOError where the audit log cannot be written."""
        self._config_path = config_path
        self._settings = settings
        self._config = config = settings.signer
        self._loop = asyncio.get_running_loop()
        self.changed = asyncio.Event()  # what `status_line` says may be another by now
        directory = config.state_dir / "audit"
        max_file_bytes = settings.audit.max_file_bytes
        self.audit = AuditLog(directory, group=AUDIT_GROUP, max_file_bytes=max_file_bytes)
        self.audit.open()
        self._audit_rules = settings.audit
        self.pruner = Pruner(directory, "signer", self._found, self.audit.durable)
        self._token = Token(config)
        self._dispatcher = Dispatcher(
            self._token,
            sessions=config.sessions,
            inline=config.dispatch == "inline",
            queue=config.queue,
            hang_limit_s=config.hang_limit_s,
        )
        self._post = Post(settings.unusual_socket)
        self.sentry = Sentry(config.state_dir, settings.unusual, write=self._found, alert=self._post.send)
        self.keeper = Keeper(self.audit.path, self.look)
        self._trail = Trail(self.audit, self.keeper.stir, self.sentry.detector)
        self.desk = Desk(config, policy_of(config), self._token, self._dispatcher, self._trail)
        self._routes = Routes(self.desk, Administration(self.desk))
        self.slots = Slots(total=_room_for_connections(), per_user=config.max_connections_per_user)
        self.doors = (
            Door(sockets.http, self.slots, Greeting(self._welcome_http, envelope.TURNED_AWAY)),
            Door(sockets.native, self.slots, Greeting(self._welcome_native, native.TURNED_AWAY)),
        )
        self._native: set[native.NativeConnection] = set()
        self._http: set[HttpConnection] = set()
        self._tasks: set[asyncio.Task[object]] = set()

    def open(self, tried: Callable[[], None]) -> None:
        """Lets requests in when the token was tried once, which is when `tried` is called.

        After a restart those that wait at the sockets would else be told that there is no token yet. A token
        that does not answer at all for a while keeps nobody waiting: they are let in, and told.
        """
        self._trail.event("start")
        self.sentry.open(self._settings.unusual, _things(self._config))
        patience = self._loop.call_later(_PATIENCE_S, self._open_doors)

        def ended(_: SigningError | None) -> None:
            patience.cancel()
            self._say_what_is_missing()
            self._open_doors()
            tried()

        self._dispatcher.bring_up(ended)

    def _open_doors(self) -> None:
        for door in self.doors:
            door.open()

    def _found(self, members: str) -> None:
        self.audit.append(members)
        self.keeper.stir()

    def look(self) -> bool:
        """Sees what became of the audit log and the token. Returns whether to look again in a second."""
        self.audit.look()
        self._trail.look()
        self.changed.set()
        return self.audit.trouble is not None or self.desk.trouble is not None

    async def prune(self) -> None:
        """Removes full files of the trail by the rules of the configuration, for ever."""
        await self.pruner.run(lambda: self._audit_rules)

    def reload(self) -> None:
        """Reads the configuration anew; one that cannot be used changes nothing."""
        try:
            settings = configured(self._config_path)
        except ConfigError as error:
            for line in error.problems:
                log.error(line)
            log.error("the configuration stays as it was: correct it, then reload again")
            self._trail.event("reload", error)
            return
        self._config = config = self._without_what_needs_a_restart(settings.signer)
        self._audit_rules = settings.audit
        self.audit.resize(settings.audit.max_file_bytes)
        self.sentry.configure(settings.unusual, _things(config))
        self.desk.configure(config, policy_of(config))
        self.slots.resize(per_user=config.max_connections_per_user)
        self._token.configure(config)
        self._dispatcher.survey(self._say_what_is_missing)
        self._trail.event("reload")
        log.info("the configuration was read anew", extra={"keys": len(config.keys)})

    def _without_what_needs_a_restart(self, config: Signer) -> Signer:
        """Or the next reset of the library would be the one that changes the token."""
        kept = {key: getattr(self._config, key) for key in _NEEDS_A_RESTART}
        for key in sorted(kept):
            if getattr(config, key) != kept[key]:
                log.warning("a changed setting needs a restart of secretsd-signer", extra={"setting": key})
        return config.model_copy(update=kept)

    async def stop(self) -> None:
        """Lets nobody in any more; waits for the requests under way, at most 5 s."""
        for door in self.doors:
            door.close()
        self.desk.stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.desk.idle.wait(), _DRAIN_S)
        for http in list(self._http):
            http.finish()
        for connection in list(self._native):
            connection.finish()
        self._dispatcher.stop()
        self._trail.look()
        await self.sentry.close()
        self._post.close()
        self._trail.event("stop")
        self.audit.close()

    def _say_what_is_missing(self) -> None:
        self.changed.set()
        for name, problem in sorted(self._token.problems.items()):
            log.error("a key cannot be used", extra={"key": name, "reason": problem.sentence})
        capabilities = self._token.capabilities
        for name, missing in sorted(capabilities.lacking.items()) if capabilities else ():
            log.error("the token lacks mechanisms", extra={"key": name, "mechanisms": ",".join(missing)})

    def status_line(self) -> str:
        """For systemctl status."""
        trouble = self.desk.trouble
        if trouble is not None:
            return f"{trouble}"
        problems = len(self._token.problems)
        lacking = f", cannot be used: {problems}; see secretsctl keys list" if problems else ""
        unwritten = f"; {self._trail.trouble}" if self._trail.trouble else ""
        return f"keys ready: {len(self._token.keys)}{lacking}{unwritten}"

    def _welcome_native(
        self, connection: socket.socket, identified: Identified, leave: Callable[[], None]
    ) -> None:
        def closed() -> None:
            self._native.discard(welcomed)
            leave()

        welcomed = native.NativeConnection(connection, self.desk, identified, closed)
        self._native.add(welcomed)

    def _welcome_http(
        self, connection: socket.socket, identified: Identified, leave: Callable[[], None]
    ) -> None:
        caller = Caller(identified.peer, identified.pidfd)

        def closed() -> None:
            self._http.discard(welcomed)
            caller.close()
            leave()

        welcomed = HttpConnection(self._routes, caller, closed)
        self._http.add(welcomed)
        task: asyncio.Task[object] = self._loop.create_task(
            self._loop.connect_accepted_socket(lambda: welcomed, connection)
        )
        self._tasks.add(task)

        def entered(task: asyncio.Task[object]) -> None:
            self._tasks.discard(task)
            if task.exception() is not None and welcomed in self._http:
                # It never became a transport, so nobody else gives back what it holds.
                connection.close()
                closed()

        task.add_done_callback(entered)


def configured(path: Path) -> Settings:
    """What of the configuration in `path` is the signer's. Raises: ConfigError."""
    config = load(path)
    if config.signer is None:
        raise ConfigError([f"{path}: there is no table [signer]: see secretsd.toml(5)"])
    return Settings(config.signer, config.audit, config.unusual, socket_of(config))


def _things(config: Signer) -> Iterator[Thing]:
    return (("key", name) for name in config.keys)


def policy_of(config: Signer) -> Policy:
    """With this host's users. Who is unknown here matches nobody, and is logged."""
    # In the foreground the signer is the user's own, and so are its keys.
    policy = Policy(config, resolve(config), daemon_uid=os.geteuid())
    for problem in policy.problems:
        log.error(problem)
    return policy


def _room_for_connections() -> int:
    """As many as leave descriptors to the token, whatever their clients do."""
    wanted = _MOST_CONNECTIONS * native.MOST_DESCRIPTORS + _OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, (soft - _OTHER_DESCRIPTORS) // native.MOST_DESCRIPTORS)
    return _MOST_CONNECTIONS
