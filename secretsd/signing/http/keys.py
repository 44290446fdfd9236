"""Transit's list of keys, and what it says of one."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from secretsd.signing.descriptions import pem
from secretsd.signing.desk import Desk
from secretsd.signing.errors import SigningError
from secretsd.signing.http import envelope
from secretsd.signing.http.exchange import Exchange
from secretsd.signing.model import Answer, KeyType, KeyVersion, Operation, Request

_CURVES = {KeyType.P256: "P-256", KeyType.P384: "P-384", KeyType.SECP256K1: "secp256k1"}
_ED25519_BYTES = 32  # at the end of its SubjectPublicKeyInfo (RFC 8410)
_NOT_FOUND = 404  # what Transit answers to a read; to a use of the same key it is 400


def list_keys(desk: Desk, exchange: Exchange) -> None:
    """The keys that the caller may use. Transit answers 404 where there is none."""
    names = sorted(desk.keys_of(exchange.caller))
    if names:
        exchange.respond(envelope.data({"keys": names}))
    else:
        problem = SigningError(
            "unknown-key",
            "there is no key that this process may use",
            advice="let an operator name it in allow of a key in secretsd.toml",
        )
        exchange.respond(envelope.error(problem, status=_NOT_FOUND))


def read_key(desk: Desk, exchange: Exchange, name: str) -> None:
    """Raises: SigningError. Of a key pair it is a use of the right public-key, and is audited like one."""
    if name not in desk.keys_of(exchange.caller):
        problem = SigningError(
            "unknown-key",
            "there is no such key that this process may use",
            advice="list the keys, or let an operator name this process in the key's allow",
        )
        desk.refuse(exchange.caller, problem)
        exchange.respond(envelope.error(problem, status=_NOT_FOUND))
        return
    versions = desk.versions(name)

    def respond(answer: Answer | SigningError) -> None:
        if isinstance(answer, SigningError):
            exchange.respond(envelope.error(answer))
        else:
            exchange.respond(envelope.data(_description(versions)))

    if versions[-1].type.has_public_key:
        request = Request(Operation.PUBLIC_KEY, name, b"", deadline_ns=exchange.deadline_ns)
        desk.submit(exchange.caller, request, respond)
    else:
        exchange.respond(envelope.data(_description(versions)))


def _description(versions: Sequence[KeyVersion]) -> dict[str, Any]:
    """As Transit has it. A token does not tell when a key was made: the times are those of 1970."""
    newest = versions[-1]
    signs, encrypts = newest.type.has_public_key, newest.type is KeyType.AES_GCM
    usable = [version.number for version in versions if not version.is_retired]
    described: dict[str, Any] = {
        "allow_plaintext_backup": False,
        "auto_rotate_period": 0,
        "deletion_allowed": False,
        "derived": False,
        "exportable": False,
        "imported_key": False,
        "latest_version": newest.number,
        "min_available_version": 0,
        "min_decryption_version": versions[0].number,
        "min_encryption_version": min(usable, default=0) if usable != _numbers(versions) else 0,
        "name": newest.key,
        "soft_deleted": False,
        "supports_decryption": encrypts,
        "supports_derivation": False,
        "supports_encryption": encrypts,
        "supports_signing": signs,
        "type": newest.type.value,
    }
    if newest.type is not KeyType.HMAC:
        described["keys"] = {str(version.number): _version(version) for version in versions}
    return described


def _numbers(versions: Sequence[KeyVersion]) -> list[int]:
    return [version.number for version in versions]


def _version(version: KeyVersion) -> dict[str, Any] | int:
    if version.public_key is None:
        return 0
    return {
        "certificate_chain": "",
        "creation_time": "1970-01-01T00:00:00Z",
        "name": _CURVES.get(version.type, version.type.value),
        "public_key": _public_key(version.type, version.public_key),
    }


def _public_key(type_: KeyType, der: bytes) -> str:
    """PEM; of Ed25519 the bare 32 bytes in base64, which is Transit's way."""
    if type_ is KeyType.ED25519:
        return base64.b64encode(der[-_ED25519_BYTES:]).decode()
    return pem(der)
