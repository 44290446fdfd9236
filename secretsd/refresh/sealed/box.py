"""Sealing and opening: AES-256-GCM over what a bundle's sources gave. For a worker; pure but for the nonce.

The key of the host is never used itself: HKDF (RFC 5869) makes the key of the seal from it, and an id by
which a copy says which key it wants. The whole header is authenticated with the secrets (NIST SP 800-38D,
"additional data"), so that a copy that was taken to another host or bundle opens and is then refused by name.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from secretsd.model import FetchedSecret, SealedHeader, SecretRef
from secretsd.refresh.sealed.choice import KEY_BYTES
from secretsd.refresh.sealed.header import decode_header, encode_header

# Random, 96 bits: one key is good for 2**32 copies, which are 500 bundles sealed each hour for 980 years.
_NONCE_BYTES = 12
_TAG_BYTES = 16
# So that the length of a secret cannot be told from the length of its copy.
_PADDED_TO_BYTES = 1024


class AlteredError(Exception):
    """This is not, byte for byte, what was sealed with this key."""


class WrongKeyError(Exception):
    """The copy says that it was sealed with another key."""


@dataclass(frozen=True, slots=True)
class SealKey:
    """What is made of the key of the host."""

    key_id: str
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, host_key: bytes) -> SealKey:
        key = _derived(host_key, b"secretsd sealed copy: AES-256-GCM", KEY_BYTES)
        return cls(_derived(host_key, b"secretsd sealed copy: key id", 8).hex(), key)


def seal(key: SealKey, header: SealedHeader, fetched: Collection[FetchedSecret]) -> bytes:
    """The whole file of a sealed copy."""
    text = json.dumps([_document(each) for each in fetched]).encode()
    padded = text.ljust(-(-len(text) // _PADDED_TO_BYTES) * _PADDED_TO_BYTES)
    clear, nonce = encode_header(header), secrets.token_bytes(_NONCE_BYTES)
    return clear + nonce + AESGCM(key.key).encrypt(nonce, padded, clear)


def open_sealed(key: SealKey, content: bytes) -> tuple[SealedHeader, tuple[FetchedSecret, ...]]:
    """What was sealed, and its header, which is authentic.

    Raises: AlteredError; WrongKeyError where the copy itself says so, which nobody has authenticated.
    """
    try:
        header, end = decode_header(content)
    except ValueError:
        raise AlteredError from None
    if header.key_id != key.key_id:
        raise WrongKeyError
    nonce, sealed = content[end : end + _NONCE_BYTES], content[end + _NONCE_BYTES :]
    if len(nonce) < _NONCE_BYTES or len(sealed) < _TAG_BYTES:
        raise AlteredError  # cut off
    try:
        padded = AESGCM(key.key).decrypt(nonce, sealed, content[:end])
    except InvalidTag:
        raise AlteredError from None
    return header, tuple(_secret(document) for document in json.loads(padded))


def _derived(host_key: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt=None, info=purpose).derive(host_key)


def _document(secret: FetchedSecret) -> dict[str, object]:
    ref = secret.ref
    return {
        "ref": [ref.source, ref.id, ref.stage, ref.version],
        "version_id": secret.version_id,
        "created_at": secret.created_at,
        "is_binary": secret.is_binary,
        "payload": base64.b64encode(secret.payload).decode(),
    }


def _secret(document: dict[str, Any]) -> FetchedSecret:
    return FetchedSecret(
        ref=SecretRef(*document["ref"]),
        version_id=document["version_id"],
        created_at=document["created_at"],
        payload=base64.b64decode(document["payload"]),
        is_binary=document["is_binary"],
    )
