"""New versions of keys: made by the token, imported, unwrapped; and what a retired one loses."""

from __future__ import annotations

import os
import struct
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)
from pkcs11 import Attribute, Mechanism, ObjectClass, Session
from pkcs11 import KeyType as P11KeyType
from pkcs11.exceptions import (
    AttributeReadOnly,
    FunctionFailed,
    GeneralError,
    WrappedKeyInvalid,
    WrappedKeyLenRange,
)

from secretsd.config.signer import SigningKey
from secretsd.signing.errors import SigningError
from secretsd.signing.model import KeyType, KeyVersion
from secretsd.signing.pkcs11 import objects

Template = dict[Attribute, Any]

_ID_BYTES = 16
# The block of SHA-256 (FIPS 180-4). HMAC pads a shorter key with zeros (RFC 2104), so that this one is the
# same key; SoftHSM refuses keys that are shorter than the digest.
_HMAC_KEY_BYTES = 64
_AES_KEY_BYTES = 32
_PUBLIC_EXPONENT = b"\x01\x00\x01"
# What `wrap` returns: this, the length of the DER public key, that key, what the token wrapped (RFC 5649).
_BLOB_HEAD = struct.Struct("!4sH")
_BLOB_MAGIC = b"sdw\x01"


def generate(session: Session, name: str, key: SigningKey, number: int) -> None:
    """Raises: PKCS11Error."""
    type_ = KeyType(key.type)
    common = _common(name, key, number)
    if type_.is_rsa:
        public = {**_public(common), Attribute.PUBLIC_EXPONENT: _PUBLIC_EXPONENT}
        bits = objects.RSA_BITS[type_]
        session.generate_keypair(
            P11KeyType.RSA, bits, public_template=public, private_template=_private(key, common)
        )
    elif type_.has_public_key:
        domain = session.create_domain_parameters(
            _curve_type(type_), {Attribute.EC_PARAMS: objects.EC_PARAMS[type_]}, local=True
        )
        domain.generate_keypair(public_template=_public(common), private_template=_private(key, common))
    else:
        kind, length = _secret_kind(type_)
        session.generate_key(kind, length * 8, template=_secret(key, common))


def import_key(session: Session, name: str, key: SigningKey, number: int, *, material: bytes) -> None:
    """Raises: SigningError key-unfit, PKCS11Error."""
    type_ = KeyType(key.type)
    common = _common(name, key, number)
    if not type_.has_public_key:
        _import_secret(session, name, key, common, material)
        return
    try:
        private = load_der_private_key(material, None)
    except (ValueError, TypeError):
        raise _not_of_type(name, key) from None
    match private:
        case rsa.RSAPrivateKey() if type_.is_rsa and private.key_size == objects.RSA_BITS[type_]:
            parts, public_parts = _rsa_parts(private)
        case ec.EllipticCurvePrivateKey() if objects.is_on_curve(type_, private.curve):
            size = (private.curve.key_size + 7) // 8
            parts = {Attribute.VALUE: private.private_numbers().private_value.to_bytes(size, "big")}
            public_parts = _point_parts(type_, private.public_key())
            parts[Attribute.EC_PARAMS] = public_parts[Attribute.EC_PARAMS]
        case ed25519.Ed25519PrivateKey() if type_ is KeyType.ED25519:
            parts = {Attribute.VALUE: private.private_bytes_raw()}
            public_parts = _point_parts(type_, private.public_key())
            parts[Attribute.EC_PARAMS] = public_parts[Attribute.EC_PARAMS]
        case _:
            raise _not_of_type(name, key)
    kind = P11KeyType.RSA if type_.is_rsa else _curve_type(type_)
    half = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.KEY_TYPE: kind}
    session.create_object({**half, **_private(key, common), **parts})
    _create_public(session, kind, common, public_parts)


def _import_secret(session: Session, name: str, key: SigningKey, common: Template, material: bytes) -> None:
    type_ = KeyType(key.type)
    kind, length = _secret_kind(type_)
    if type_ is KeyType.HMAC:
        value = material.ljust(_HMAC_KEY_BYTES, b"\0")
        is_good = bool(material)
    else:
        value, is_good = material, len(material) == length
    if not is_good:
        raise _not_of_type(name, key)
    half = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: kind, Attribute.VALUE: value}
    session.create_object({**half, **_secret(key, common)})


def retire(found: Any, key: KeyVersion) -> None:
    """Raises: SigningError token-refused where the token does not let go of the right, PKCS11Error."""
    try:
        found[objects.use_attribute(key.type)] = False
    except AttributeReadOnly:
        raise SigningError(
            "token-refused",
            "the token does not let this attribute of a key be changed",
            advice="make a new version, and remove the old key with the token's own tools",
        ) from None


def wrap(wrapping_key: Any, found: Any, key: KeyVersion) -> bytes:
    """Raises: PKCS11Error."""
    if key.type is KeyType.ED25519:
        raise SigningError(
            "unsupported", "tokens do not wrap Ed25519 keys", advice="back up the token itself"
        )
    wrapped = wrapping_key.wrap_key(found, mechanism=Mechanism.AES_KEY_WRAP_PAD)
    public = key.public_key or b""
    return _BLOB_HEAD.pack(_BLOB_MAGIC, len(public)) + public + bytes(wrapped)


def unwrap(
    session: Session, name: str, key: SigningKey, number: int, *, wrapping_key: Any, blob: bytes
) -> None:
    """Raises: SigningError bad-ciphertext, PKCS11Error."""
    type_ = KeyType(key.type)
    common = _common(name, key, number)
    public, wrapped = _opened(type_, blob)
    if type_.has_public_key:
        class_ = ObjectClass.PRIVATE_KEY
        kind = P11KeyType.RSA if type_.is_rsa else _curve_type(type_)
        template = _private(key, common)
    else:
        class_ = ObjectClass.SECRET_KEY
        kind, _ = _secret_kind(type_)
        template = _secret(key, common)
    try:
        found = wrapping_key.unwrap_key(
            class_, kind, wrapped, mechanism=Mechanism.AES_KEY_WRAP_PAD, store=True, template=template
        )
    except (WrappedKeyInvalid, WrappedKeyLenRange, GeneralError, FunctionFailed):
        raise _bad_blob() from None
    if public is not None:
        try:
            _create_public(session, kind, common, _public_parts(type_, public))
        except BaseException:
            # Half a key would stand in the way of the next try.
            found.destroy()
            raise


def _opened(type_: KeyType, blob: bytes) -> tuple[Any, bytes]:
    """The public key and what the token wrapped."""
    if len(blob) < _BLOB_HEAD.size:
        raise _bad_blob()
    magic, public_bytes = _BLOB_HEAD.unpack_from(blob)
    rest = blob[_BLOB_HEAD.size :]
    if magic != _BLOB_MAGIC or len(rest) <= public_bytes or bool(public_bytes) != type_.has_public_key:
        raise _bad_blob()
    if not public_bytes:
        return None, rest
    try:
        return load_der_public_key(rest[:public_bytes]), rest[public_bytes:]
    except ValueError:
        raise _bad_blob() from None


def _public_parts(type_: KeyType, public: Any) -> Template:
    match public:
        case rsa.RSAPublicKey() if type_.is_rsa:
            return _rsa_public_parts(public)
        case ec.EllipticCurvePublicKey() | ed25519.Ed25519PublicKey():
            return _point_parts(type_, public)
    raise _bad_blob()


def _create_public(session: Session, kind: P11KeyType, common: Template, parts: Template) -> None:
    half = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.KEY_TYPE: kind}
    session.create_object({**half, **_public(common), **parts})


def _common(name: str, key: SigningKey, number: int) -> Template:
    id_ = bytes.fromhex(key.id) if key.id is not None else os.urandom(_ID_BYTES)
    return {
        Attribute.LABEL: objects.label_of(name, key, number),
        Attribute.ID: id_,
        Attribute.TOKEN: True,
    }


def _public(common: Template) -> Template:
    return {**common, Attribute.VERIFY: True}


def _private(key: SigningKey, common: Template) -> Template:
    return {**common, **_protected(key), Attribute.SIGN: True}


def _secret(key: SigningKey, common: Template) -> Template:
    uses: dict[KeyType, Template] = {
        KeyType.HMAC: {Attribute.SIGN: True, Attribute.VERIFY: True},
        KeyType.AES_GCM: {Attribute.ENCRYPT: True, Attribute.DECRYPT: True},
        KeyType.AES_WRAP: {Attribute.WRAP: True, Attribute.UNWRAP: True},
    }
    return {**common, **_protected(key), **uses[KeyType(key.type)]}


def _protected(key: SigningKey) -> Template:
    """Never readable; able to leave, wrapped, only where the configuration says by what."""
    can_leave = key.wrapped_by is not None
    return {Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: can_leave}


def _curve_type(type_: KeyType) -> P11KeyType:
    return P11KeyType.EC_EDWARDS if type_ is KeyType.ED25519 else P11KeyType.EC


def _secret_kind(type_: KeyType) -> tuple[P11KeyType, int]:
    """The token's type, and the bytes of a key that it makes."""
    if type_ is KeyType.HMAC:
        return P11KeyType.GENERIC_SECRET, _HMAC_KEY_BYTES
    return P11KeyType.AES, _AES_KEY_BYTES


def _rsa_parts(private: rsa.RSAPrivateKey) -> tuple[Template, Template]:
    numbers = private.private_numbers()
    public = _rsa_public_parts(private.public_key())
    parts = {
        **public,
        Attribute.PRIVATE_EXPONENT: _number(numbers.d),
        Attribute.PRIME_1: _number(numbers.p),
        Attribute.PRIME_2: _number(numbers.q),
        Attribute.EXPONENT_1: _number(numbers.dmp1),
        Attribute.EXPONENT_2: _number(numbers.dmq1),
        Attribute.COEFFICIENT: _number(numbers.iqmp),
    }
    return parts, public


def _rsa_public_parts(public: rsa.RSAPublicKey) -> Template:
    numbers = public.public_numbers()
    return {Attribute.MODULUS: _number(numbers.n), Attribute.PUBLIC_EXPONENT: _number(numbers.e)}


def _point_parts(type_: KeyType, public: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> Template:
    if isinstance(public, ed25519.Ed25519PublicKey):
        point = public.public_bytes_raw()
    else:
        point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    # An OCTET STRING of at most 127 bytes: P-384's point has 97.
    wrapped = b"\x04" + bytes((len(point),)) + point
    return {Attribute.EC_PARAMS: objects.EC_PARAMS[type_], Attribute.EC_POINT: wrapped}


def _number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _not_of_type(name: str, key: SigningKey) -> SigningError:
    return SigningError(
        "key-unfit",
        f"this is no {key.type} key, as {name} is configured",
        advice="give PKCS#8, or for hmac and aes the key's bytes",
    )


def _bad_blob() -> SigningError:
    return SigningError(
        "bad-ciphertext", "this is not what wrap returned, or another key wrapped it, or it was altered"
    )
