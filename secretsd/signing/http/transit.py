"""Transit's JSON in and out: a body becomes the requests it asks for, an answer becomes its members. Pure.

The names and what is optional are OpenBao's (builtin/logical/transit); docs/transit.md says what differs.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from secretsd.signing.errors import SigningError
from secretsd.signing.http import fields
from secretsd.signing.http.fields import Body
from secretsd.signing.model import (
    SALT_AUTO,
    SALT_HASH,
    Answer,
    Hash,
    KeyType,
    Marshaling,
    Operation,
    Padding,
    Request,
)

MOST_ITEMS = 256  # of one batch: a batch is one client's, and others wait for the same token

_HASHES = {each.value: each for each in Hash}
_MARSHALINGS = {"": Marshaling.ASN1, "asn1": Marshaling.ASN1, "jws": Marshaling.JWS, "eth": Marshaling.ETH}
_PADDINGS = {"": Padding.PSS, "pss": Padding.PSS, "pkcs1v15": Padding.PKCS1V15}
# Go's crypto/rsa counts 0 as auto and -1 as the digest's length, and so does Transit.
_SALTS = {"": SALT_AUTO, "auto": SALT_AUTO, "0": SALT_AUTO, "hash": SALT_HASH, "-1": SALT_HASH}
_MOST_SALT_BYTES = 512
_VERSIONED = re.compile(r"vault:v([1-9][0-9]{0,8}):(.*)", re.DOTALL)
_OF_A_BATCH = frozenset({"batch_input", "partial_failure_response_code"})
_OF_SIGNATURES = frozenset(
    {
        *("input", "hash_algorithm", "algorithm", "prehashed", "signature_algorithm", "salt_length"),
        *("marshaling_algorithm", "key_version", "batch_input", "signature", "hmac"),
    }
)
_OF_CIPHERS = frozenset({"plaintext", "ciphertext", "associated_data", "key_version", *_OF_A_BATCH})
_REFUSED = ("context", "nonce", "convergent_encryption")


@dataclass(frozen=True, slots=True)
class Asked:
    """What one body asks for. An item that cannot be read is the error that says why."""

    operation: Operation
    items: Sequence[Request | SigningError]
    references: Sequence[str] | None = None  # of the items of a batch; None where it is none
    partial_status: int = 400  # of the answer where some of a batch of encrypt or decrypt failed
    ignored: int = 0  # members that this operation does not know
    encode: Callable[[bytes], bytes] = base64.b64encode  # of a signature


def read(operation: Operation, name: str, path_hash: str | None, body: Body, deadline_ns: int) -> Asked:
    """`path_hash` is the hash in the path, which goes before that in the body. Raises: SigningError."""
    for source in (body, *(_batch(body) if body.get("batch_input") is not None else ())):
        _refuse_derivation(source)
    return _READERS[operation](operation, name, path_hash, body, deadline_ns)


def _refuse_derivation(source: Body) -> None:
    """Of a body or of an item. Raises: SigningError."""
    for refused in _REFUSED:
        if source.get(refused):
            raise SigningError(
                "unsupported",
                f"{refused} is not offered: no key here is derived or convergent",
                advice="leave it away",
            )


def _read_signing(
    operation: Operation, name: str, path_hash: str | None, body: Body, deadline_ns: int
) -> Asked:
    marshaling = _choice(body, "marshaling_algorithm", _MARSHALINGS)
    version = _version(body)
    hash_ = _hash(path_hash, body)
    prehashed = fields.boolean(body, "prehashed")
    padding = _choice(body, "signature_algorithm", _PADDINGS)
    salt_bytes = _salt_bytes(body) if "salt_length" in body else SALT_AUTO

    def item(source: Body) -> Request:
        return Request(
            operation,
            name,
            fields.base64_bytes(source, "input"),
            version,
            hash_,
            prehashed,
            marshaling,
            padding,
            salt_bytes,
            deadline_ns=deadline_ns,
        )

    encode = _encode_jws if marshaling is Marshaling.JWS else base64.b64encode
    return _asked(operation, body, item, _OF_SIGNATURES, encode)


def _read_verify(
    operation: Operation, name: str, path_hash: str | None, body: Body, deadline_ns: int
) -> Asked:
    marshaling = _choice(body, "marshaling_algorithm", _MARSHALINGS)
    hash_ = _hash(path_hash, body)
    prehashed = fields.boolean(body, "prehashed")
    padding = _choice(body, "signature_algorithm", _PADDINGS)
    salt_bytes = _salt_bytes(body)
    what = _what_is_verified(body)
    is_hmac = what == "hmac"
    decode = fields.decode_base64url if marshaling is Marshaling.JWS and not is_hmac else fields.decode_base64

    def item(source: Body) -> Request:
        version, encoded = _versioned(source, what, "bad-parameter")
        return Request(
            operation,
            name,
            fields.base64_bytes(source, "input"),
            version,
            hash_,
            prehashed,
            marshaling,
            padding,
            salt_bytes,
            decode(encoded, what),
            deadline_ns=deadline_ns,
            check_is_hmac=is_hmac,
        )

    return _asked(operation, body, item, _OF_SIGNATURES)


def _read_encrypt(operation: Operation, name: str, _: str | None, body: Body, deadline_ns: int) -> Asked:
    def item(source: Body) -> Request:
        return Request(
            operation,
            name,
            fields.base64_bytes(source, "plaintext"),
            _version(source),
            associated_data=fields.base64_bytes(source, "associated_data", missing=b""),
            deadline_ns=deadline_ns,
        )

    return _asked(operation, body, item, _OF_CIPHERS)


def _read_decrypt(operation: Operation, name: str, _: str | None, body: Body, deadline_ns: int) -> Asked:
    def item(source: Body) -> Request:
        version, encoded = _versioned(source, "ciphertext", "bad-ciphertext")
        return Request(
            operation,
            name,
            fields.decode_base64(encoded, "ciphertext"),
            version,
            associated_data=fields.base64_bytes(source, "associated_data", missing=b""),
            deadline_ns=deadline_ns,
        )

    return _asked(operation, body, item, _OF_CIPHERS)


_READERS = {
    Operation.SIGN: _read_signing,
    Operation.HMAC: _read_signing,
    Operation.VERIFY: _read_verify,
    Operation.ENCRYPT: _read_encrypt,
    Operation.DECRYPT: _read_decrypt,
}


def _asked(
    operation: Operation,
    body: Body,
    item: Callable[[Body], Request],
    known: frozenset[str],
    encode: Callable[[bytes], bytes] = base64.b64encode,
) -> Asked:
    ignored = len(body.keys() - known)
    sources = body.get("batch_input")
    if sources is None:
        return Asked(operation, (item(body),), ignored=ignored, encode=encode)
    references = [fields.text(source, "reference") or "" for source in _batch(body)]
    items: list[Request | SigningError] = []
    for source in sources:
        try:
            items.append(item(source))
        except SigningError as error:
            items.append(error)
    status = fields.integer(body, "partial_failure_response_code") or 400
    if not 200 <= status <= 599:
        raise SigningError(
            "bad-parameter", "partial_failure_response_code is no status", advice="send one from 200 to 599"
        )
    return Asked(operation, items, references, status, ignored, encode)


def _batch(body: Body) -> list[Body]:
    sources = body["batch_input"]
    if not isinstance(sources, list) or not all(isinstance(source, dict) for source in sources):
        raise fields.malformed("batch_input is not an array of objects")
    if not 1 <= len(sources) <= MOST_ITEMS:
        raise SigningError(
            "bad-parameter", "batch_input has too few or too many items", advice=f"send 1 to {MOST_ITEMS}"
        )
    return sources


def _what_is_verified(body: Body) -> str:
    """The member of each item that holds what is verified: one for all items of a batch."""
    sources = [body] if body.get("batch_input") is None else _batch(body)
    for name in ("signature", "hmac"):
        if all(source.get(name) is not None for source in sources):
            return name
    raise SigningError(
        "bad-parameter",
        "there is no signature and no hmac to verify",
        advice="send one of them; in a batch, the same of both in each item",
    )


def check_what_is_verified(asked: Asked, type_: KeyType) -> None:
    """An HMAC is no signature, and a key here has one of both. Raises: SigningError unsupported."""
    for item in asked.items:
        if isinstance(item, Request) and item.check_is_hmac is not (type_ is KeyType.HMAC):
            given, wanted = ("hmac", "signature") if item.check_is_hmac else ("signature", "hmac")
            raise SigningError(
                "unsupported", f"a key of type {type_} does not verify {given}", advice=f"send {wanted}"
            )


def _versioned(source: Body, name: str, code: str) -> tuple[int, str]:
    """The version and the base64 of "vault:vN:BASE64"."""
    value = fields.text(source, name)
    if value is None:
        raise SigningError("bad-parameter", f"{name} is missing", advice=f"send {name} as it was given")
    match = _VERSIONED.fullmatch(value)
    if match is None:
        raise SigningError(
            code, f"{name} does not start with vault:vN:", advice="send it as it was given, with its prefix"
        )
    return int(match[1]), match[2]


def _version(body: Body) -> int:
    version = fields.integer(body, "key_version") if "key_version" in body else 0
    if version < 0:
        raise SigningError(
            "bad-parameter", "key_version is negative", advice="send 1 or more, or 0 for the newest"
        )
    return version


def _hash(path_hash: str | None, body: Body) -> Hash | None:
    word = path_hash or fields.text(body, "hash_algorithm") or fields.text(body, "algorithm")
    if not word:
        return None
    try:
        return _HASHES[word]
    except KeyError:
        raise SigningError(
            "bad-parameter", "this hash is not offered", advice=f"use one of {', '.join(_HASHES)}"
        ) from None


def _choice(body: Body, name: str, choices: dict[str, Any]) -> Any:
    try:
        return choices[fields.text(body, name) or ""]
    except KeyError:
        listed = ", ".join(choice for choice in choices if choice)
        raise SigningError("bad-parameter", f"{name} is unknown", advice=f"use one of {listed}") from None


def _salt_bytes(body: Body) -> int:
    word = fields.text(body, "salt_length") or ""
    if word in _SALTS:
        return _SALTS[word]
    if word.isascii() and word.isdigit() and len(word) <= 3 and int(word) <= _MOST_SALT_BYTES:
        return int(word)
    raise SigningError(
        "bad-parameter", "salt_length is unknown", advice="use auto, hash, or a number of bytes up to 512"
    )


def _encode_jws(signature: bytes) -> bytes:
    return base64.urlsafe_b64encode(signature).rstrip(b"=")


def members(asked: Asked, answer: Answer) -> dict[str, Any]:
    """What Transit answers for one item."""
    operation = asked.operation
    if operation is Operation.HMAC:
        return {"hmac": _with_version(answer, base64.b64encode)}
    if operation is Operation.SIGN:
        return {"signature": _with_version(answer, asked.encode), "key_version": answer.version}
    if operation is Operation.VERIFY:
        return {"valid": answer.payload == b"\1"}
    if operation is Operation.ENCRYPT:
        return {"ciphertext": _with_version(answer, base64.b64encode), "key_version": answer.version}
    return {"plaintext": base64.b64encode(answer.payload).decode()}


def _with_version(answer: Answer, encode: Callable[[bytes], bytes]) -> str:
    return f"vault:v{answer.version}:{encode(answer.payload).decode()}"
