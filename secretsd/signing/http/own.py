"""The paths below /v1/secretsd/: what is done to keys, for secretsctl."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from secretsd.signing.administration import Administration
from secretsd.signing.deeds import Telling
from secretsd.signing.errors import SigningError, asker_gone
from secretsd.signing.http import envelope, fields
from secretsd.signing.http.exchange import Exchange

_WAITS = 202  # for the approval of somebody else


def get(administration: Administration, exchange: Exchange, what: str) -> None:
    """Raises: SigningError."""
    questions: dict[str, Callable[..., None]] = {
        "keys": administration.keys,
        "approvals": administration.approvals,
        "report": administration.report,
    }
    if what not in questions:
        raise unknown_path()
    questions[what](exchange.caller.peer, _telling(exchange))


def must_be_alive(exchange: Exchange) -> None:
    """What root's process left open must not make keys for whoever holds it. Raises: SigningError."""
    if not exchange.caller.is_alive():
        raise asker_gone()


def unlock(administration: Administration, exchange: Exchange) -> None:
    administration.unlock(exchange.caller.peer, _telling(exchange))


def approve(administration: Administration, exchange: Exchange, request_id: str) -> None:
    administration.approve(exchange.caller.peer, request_id, _telling(exchange))


def change(administration: Administration, exchange: Exchange, name: str, verb: str) -> None:
    """Does `verb` to the key. Raises: SigningError."""
    if verb not in _CHANGES:
        raise unknown_path()
    _CHANGES[verb](administration, exchange, name, exchange.body())


def _generate(administration: Administration, exchange: Exchange, name: str, _: fields.Body) -> None:
    administration.generate(exchange.caller.peer, name, _telling(exchange))


def _import(administration: Administration, exchange: Exchange, name: str, body: fields.Body) -> None:
    material = fields.base64_bytes(body, "material")
    administration.import_key(exchange.caller.peer, name, material, _telling(exchange))


def _retire(administration: Administration, exchange: Exchange, name: str, body: fields.Body) -> None:
    number = fields.integer(body, "version")
    if number < 1:
        raise SigningError("bad-parameter", "version is missing", advice="name the version to retire")
    administration.retire(exchange.caller.peer, name, number, _telling(exchange))


def _wrap(administration: Administration, exchange: Exchange, name: str, body: fields.Body) -> None:
    number = fields.integer(body, "version")
    administration.wrap(exchange.caller.peer, name, number, _telling(exchange))


def _unwrap(administration: Administration, exchange: Exchange, name: str, body: fields.Body) -> None:
    blob = fields.base64_bytes(body, "blob")
    request_id = fields.text(body, "request_id") or ""
    telling = _telling(exchange, done=200 if request_id else _WAITS)
    administration.unwrap(exchange.caller.peer, name, blob, request_id, telling)


_CHANGES: Mapping[str, Callable[[Administration, Exchange, str, fields.Body], None]] = {
    "generate": _generate,
    "import": _import,
    "retire": _retire,
    "wrap": _wrap,
    "unwrap": _unwrap,
}


def _telling(exchange: Exchange, *, done: int = 200) -> Telling:
    def tell(outcome: Mapping[str, Any] | SigningError) -> None:
        if not exchange.caller.is_alive():
            outcome = asker_gone()
        if isinstance(outcome, SigningError):
            exchange.respond(envelope.error(outcome))
        else:
            exchange.respond(envelope.data(outcome, status=done))

    return tell


def unknown_path() -> SigningError:
    return SigningError(
        "unsupported-path", "there is nothing at this path", advice="docs/transit.md lists what is offered"
    )
