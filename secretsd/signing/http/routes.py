"""From a method and a path to what is done."""

from __future__ import annotations

from secretsd.signing.administration import Administration
from secretsd.signing.desk import Desk
from secretsd.signing.errors import SigningError
from secretsd.signing.http import batch, envelope, keys, own, system, transit
from secretsd.signing.http.exchange import Exchange
from secretsd.signing.model import Operation

_WRITES = frozenset({"POST", "PUT"})  # Transit does the same for both
_READS = frozenset({"GET", "HEAD"})
_USES = {
    each.value: each
    for each in (Operation.SIGN, Operation.VERIFY, Operation.HMAC, Operation.ENCRYPT, Operation.DECRYPT)
}
_WITH_HASH = frozenset({Operation.SIGN, Operation.VERIFY, Operation.HMAC})
_SYSTEM = {
    "/v1/sys/health": system.health,
    "/v1/sys/seal-status": system.seal_status,
    "/v1/sys/leader": system.leader,
    "/v1/auth/token/lookup-self": system.lookup_self,
}
_METHOD_NOT_ALLOWED = 405


class Routes:
    """One for all connections."""

    def __init__(self, desk: Desk, administration: Administration) -> None:
        self.desk = desk
        self._administration = administration

    def handle(self, exchange: Exchange) -> None:
        """Answers `exchange`, now or later. Does not block; raises nothing that a client can cause."""
        try:
            exchange.caller.must_be_alive()
            self._route(exchange)
        except SigningError as error:
            self.desk.refuse(exchange.caller, error)
            status = _METHOD_NOT_ALLOWED if isinstance(error, _WrongMethodError) else None
            exchange.respond(envelope.error(error, status=status))

    def _route(self, exchange: Exchange) -> None:
        match exchange.path.split("/"):
            case ["", "v1", "transit", verb, name, *rest] if verb in _USES:
                self._use(exchange, _USES[verb], name, rest)
            case ["", "v1", "transit", "keys", *names]:
                self._transit_keys(exchange, names)
            case ["", "v1", "secretsd", *rest]:
                self._own(exchange, rest)
            case _ if exchange.path in _SYSTEM:
                _need(exchange, _READS)
                _SYSTEM[exchange.path](self.desk, exchange)
            case _:
                raise own.unknown_path()

    def _use(self, exchange: Exchange, operation: Operation, name: str, rest: list[str]) -> None:
        if len(rest) > (operation in _WITH_HASH):
            raise own.unknown_path()
        _need(exchange, _WRITES)
        path_hash = rest[0] if rest else None
        asked = transit.read(operation, name, path_hash, exchange.body(), exchange.deadline_ns)
        if operation is Operation.VERIFY and name in self.desk.keys_of(exchange.caller):
            transit.check_what_is_verified(asked, self.desk.versions(name)[-1].type)
        batch.run(self.desk, exchange.caller, asked, exchange.respond)

    def _transit_keys(self, exchange: Exchange, names: list[str]) -> None:
        match names:
            case []:
                _need(exchange, frozenset({"LIST"}))
                keys.list_keys(self.desk, exchange)
            case [name]:
                _need(exchange, _READS)
                keys.read_key(self.desk, exchange, name)
            case _:
                raise own.unknown_path()

    def _own(self, exchange: Exchange, rest: list[str]) -> None:
        own.must_be_alive(exchange)
        administration = self._administration
        match rest:
            case ["unlock"]:
                _need(exchange, _WRITES)
                own.unlock(administration, exchange)
            case ["approvals", request_id]:
                _need(exchange, _WRITES)
                own.approve(administration, exchange, request_id)
            case ["keys", name, verb]:
                _need(exchange, _WRITES)
                own.change(administration, exchange, name, verb)
            case [what]:
                _need(exchange, _READS)
                own.get(administration, exchange, what)
            case _:
                raise own.unknown_path()


class _WrongMethodError(SigningError):
    def __init__(self) -> None:
        super().__init__(
            "unsupported-path",
            "this path is not offered with this method",
            advice="docs/transit.md lists what is offered",
        )


def _need(exchange: Exchange, methods: frozenset[str]) -> None:
    if exchange.method not in methods:
        raise _WrongMethodError
