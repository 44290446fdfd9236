"""Keys that leave the token and enter it only wrapped, and the proof that what entered is what was named."""

from __future__ import annotations

import os
import struct
from collections.abc import Collection
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, Mechanism, Session
from pkcs11.exceptions import (
    FunctionFailed,
    GeneralError,
    WrappedKeyInvalid,
    WrappedKeyLenRange,
)

from secretsd.config.signer import SigningKey
from secretsd.signing.encodings import unmarshaled
from secretsd.signing.errors import SigningError
from secretsd.signing.model import KeyType, KeyVersion, Marshaling
from secretsd.signing.pkcs11 import making, objects, templates

# Words of tokens for bytes that another key wrapped, or that hold a key of another type. SoftHSM has no
# better ones than the last two.
_NOT_UNWRAPPED = (WrappedKeyInvalid, WrappedKeyLenRange, GeneralError, FunctionFailed)
# What `wrap` returns: this, the length of the DER public key, that key, what the token wrapped (RFC 5649).
_BLOB_HEAD = struct.Struct("!4sH")
_BLOB_MAGIC = b"sdw\x01"
_CHALLENGE_BYTES = 32


def _own_mechanism(name: str, number: int) -> Mechanism:
    """A vendor's own: python-pkcs11 takes members of its enumeration alone."""
    made = int.__new__(Mechanism, number)
    made._name_, made._value_ = name, number
    return made


# RFC 5649 by CloudHSM's SDK 5, which does not have the standard's number for it.
_CLOUDHSM_KEY_WRAP = _own_mechanism("CLOUDHSM_AES_KEY_WRAP_ZERO_PAD", 0x8000216F)


class NotUnwrappedError(Exception):
    """Another key wrapped it, or it was altered, or, since tokens use one word for it, the token is lost."""


def mechanism_among(mechanisms: Collection[int]) -> Mechanism:
    """The token's way of RFC 5649; the standard's where it lists none."""
    is_its_own = Mechanism.AES_KEY_WRAP_PAD not in mechanisms and _CLOUDHSM_KEY_WRAP.value in mechanisms
    return _CLOUDHSM_KEY_WRAP if is_its_own else Mechanism.AES_KEY_WRAP_PAD


def wrap(wrapping_key: Any, found: Any, key: KeyVersion, mechanism: Mechanism) -> bytes:
    """Raises: SigningError unsupported, PKCS11Error."""
    if key.type is KeyType.ED25519:
        raise SigningError(
            "unsupported", "tokens do not wrap Ed25519 keys", advice="back up the token itself"
        )
    wrapped = wrapping_key.wrap_key(found, mechanism=mechanism)
    public = key.public_key or b""
    return _BLOB_HEAD.pack(_BLOB_MAGIC, len(public)) + public + bytes(wrapped)


def unwrap(
    session: Session,
    name: str,
    key: SigningKey,
    number: int,
    *,
    wrapping_key: Any,
    mechanism: Mechanism,
    blob: bytes,
) -> None:
    """The next version, from a blob of `wrap`.

    The wrapped half of a blob is authenticated by its wrapping (RFC 5649), the public key beside it is not:
    the private key has to prove that they are a pair, or whoever carries a blob could have funds sent to a
    public key of their own.

    Raises: SigningError bad-ciphertext, NotUnwrappedError, PKCS11Error.
    """
    type_ = KeyType(key.type)
    public, wrapped = _opened(type_, blob)
    shared = templates.common(name, key, number)
    template = (templates.private if type_.has_public_key else templates.secret)(key, shared)
    class_, kind = objects.object_class(type_), templates.kind_of(type_)
    how = {"mechanism": mechanism, "store": True, "template": template}
    try:
        found = wrapping_key.unwrap_key(class_, kind, wrapped, **how)
    except _NOT_UNWRAPPED:
        raise NotUnwrappedError from None
    if public is not None:
        with making.destroyed_if_this_fails(found):
            if not _is_pair(type_, found, public):
                raise bad_blob()
            making.create_public(session, type_, shared, public)


def bad_blob() -> SigningError:
    """The answer to bytes that are no blob, or one that none of the wrapping key's versions opens."""
    return SigningError(
        "bad-ciphertext", "this is not what wrap returned, or another key wrapped it, or it was altered"
    )


def _opened(type_: KeyType, blob: bytes) -> tuple[Any, bytes]:
    """The public key and what the token wrapped."""
    if len(blob) < _BLOB_HEAD.size:
        raise bad_blob()
    magic, public_bytes = _BLOB_HEAD.unpack_from(blob)
    rest = blob[_BLOB_HEAD.size :]
    if magic != _BLOB_MAGIC or len(rest) <= public_bytes or bool(public_bytes) != type_.has_public_key:
        raise bad_blob()
    if not public_bytes:
        return None, rest
    try:
        public = load_der_public_key(rest[:public_bytes])
    except (ValueError, UnsupportedAlgorithm):
        raise bad_blob() from None
    if not templates.is_public_key_of(type_, public):
        raise bad_blob()
    return public, rest[public_bytes:]


def _is_pair(type_: KeyType, found: Any, public: Any) -> bool:
    """Whether the private key on the token and the public key belong together. Raises: PKCS11Error."""
    digest = os.urandom(_CHALLENGE_BYTES)
    try:
        match public:
            case rsa.RSAPublicKey():
                numbers = public.public_numbers()
                parts = ((Attribute.MODULUS, numbers.n), (Attribute.PUBLIC_EXPONENT, numbers.e))
                return all(int.from_bytes(found[part], "big") == number for part, number in parts)
            case ec.EllipticCurvePublicKey():
                raw = bytes(found.sign(digest, mechanism=Mechanism.ECDSA))
                der = unmarshaled(type_, raw, Marshaling.JWS)
                public.verify(der or b"", digest, ec.ECDSA(Prehashed(SHA256())))
            case ed25519.Ed25519PublicKey():
                public.verify(bytes(found.sign(digest, mechanism=Mechanism.EDDSA)), digest)
    except InvalidSignature:
        return False
    return True
