"""Commands, and who has asked for them, on the audit trail.

What changes something is on the disk before it is begun, and is not done where that cannot be. What reads
secrets, or acts without changing anything, is on record when it has ended. `status`, `history`, `cost` and
`wait` ask no source, show nothing and are asked all the time: they leave no record, but for their refusals.

`ack` is recorded and never held back: it says what is so, and without it a unit would be told again.
"""

from __future__ import annotations

import asyncio
import time

from secretsd.control.commands import Commands
from secretsd.control.protocol import Reply
from secretsd.control.requests import Request
from secretsd.errors import ExitCode, SecretsdError
from secretsd.refresh.conductor import Conductor
from secretsd.refresh.trail import Order
from secretsd.signing.model import Peer

_ORDERS = frozenset({"reload", "hold", "resume", "rollback"})
_TOLD = frozenset({"plan", "diff", "schema", "doctor", "alert-test", "ack"})
_SILENT = frozenset({"status", "history", "cost", "wait"})
# Not the rest: an owner's units acknowledge, and an alert-test touches no bundle.
_USES = _ORDERS | {"plan", "diff", "schema", "doctor"}
EVERY = _ORDERS | _TOLD | _SILENT


class Recording:
    """Runs the commands of one conductor; who may run them was decided before."""

    def __init__(self, conductor: Conductor) -> None:
        self.commands = Commands(conductor)
        self._conductor = conductor
        self._trail = conductor.trail
        self._acknowledged: dict[str, object] = {}  # bundle -> generation: said again it is no news

    async def run(self, command: str, bundle: str | None, request: Request, peer: Peer | None) -> Reply:
        """`peer` is None for a signal. Raises: SecretsdError; NotOnRecordError where nothing was done."""
        if command not in _ORDERS | _TOLD:
            return await self.commands.run(command, bundle, request)
        order = self._trail.order(command, peer, self._details(command, bundle, request))
        if peer is not None and command in _USES:
            self._trail.asked(bundle if bundle in self._conductor.config.bundles else None, peer)
        try:
            if command in _ORDERS:
                self._trail.begun(order)
                await self._trail.ledger.durable()
            reply = await self.commands.run(command, bundle, request)
        except BaseException as error:
            self._end(order, peer, *_fall(error))
            raise
        word = "" if reply.code is ExitCode.OK else reply.code.name.lower().replace("_", "-")
        self._end(order, peer, reply.code, word)
        return reply

    def refused(self, command: str, bundle: str | None, peer: Peer) -> None:
        """Who asked may not."""
        self._trail.refused(bundle, peer)
        known = command if command in EVERY else "unknown"
        if self._trail.ledger.is_to_be_recorded(peer.uid, time.monotonic()):
            order = self._trail.order(known, peer, self._details("", bundle, {}))
            self._trail.ended(order, ExitCode.REFUSED, "not-allowed")

    def _end(self, order: Order, peer: Peer | None, code: ExitCode, reason: str) -> None:
        if order.action != "ack" or self._is_news(order, peer, code):
            self._trail.ended(order, code, reason)

    def _is_news(self, ack: Order, peer: Peer | None, code: ExitCode) -> bool:
        """A bundle's owner may acknowledge as fast as they can, and must not be able to fill the disk."""
        bundle, generation = str(ack.details.get("bundle")), ack.details.get("generation")
        if code is not ExitCode.OK:
            return peer is None or self._trail.ledger.is_to_be_recorded(peer.uid, time.monotonic())
        former, self._acknowledged[bundle] = self._acknowledged.get(bundle), generation
        return former != generation

    def _details(self, command: str, bundle: str | None, request: Request) -> dict[str, object]:
        """Configured names and numbers alone: nothing else that a client sends is on record."""
        details: dict[str, object] = {"bundle": bundle} if bundle in self._conductor.config.bundles else {}
        number = request.get({"ack": "generation", "rollback": "to"}.get(command, ""))
        return details | ({"generation": number} if type(number) is int else {})


def _fall(error: BaseException) -> tuple[ExitCode, str]:
    if isinstance(error, SecretsdError):
        return error.exit_code, error.code
    if isinstance(error, asyncio.CancelledError):
        return ExitCode.TRY_AGAIN, "peer-gone"  # nobody waits for the end; what was begun may go on
    return ExitCode.BUG, "bug"
