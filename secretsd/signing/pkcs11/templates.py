"""The attributes that new keys are given. Pure: no call of the token is made here."""

from __future__ import annotations

import os
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute
from pkcs11 import KeyType as P11KeyType

from secretsd.config.signer import SigningKey
from secretsd.signing.model import KeyType
from secretsd.signing.pkcs11 import objects

Template = dict[Attribute, Any]

_ID_BYTES = 16
# The block of SHA-256 (FIPS 180-4). HMAC pads a shorter key with zeros (RFC 2104), so that this one is the
# same key; SoftHSM refuses keys that are shorter than the digest.
HMAC_KEY_BYTES = 64
AES_KEY_BYTES = 32


def common(name: str, key: SigningKey, number: int) -> Template:
    """What both halves of a pair share; made once for a version, since CKA_ID is random."""
    id_ = bytes.fromhex(key.id) if key.id is not None else os.urandom(_ID_BYTES)
    return {
        Attribute.LABEL: objects.label_of(name, key, number),
        Attribute.ID: id_,
        Attribute.TOKEN: True,
    }


def public(shared: Template) -> Template:
    return {**shared, Attribute.VERIFY: True}


def private(key: SigningKey, shared: Template) -> Template:
    return {**shared, **_protected(key), Attribute.SIGN: True}


def secret(key: SigningKey, shared: Template) -> Template:
    uses: dict[KeyType, Template] = {
        KeyType.HMAC: {Attribute.SIGN: True, Attribute.VERIFY: True},
        KeyType.AES_GCM: {Attribute.ENCRYPT: True, Attribute.DECRYPT: True},
        KeyType.AES_WRAP: {Attribute.WRAP: True, Attribute.UNWRAP: True},
    }
    return {**shared, **_protected(key), **uses[KeyType(key.type)]}


def kind_of(type_: KeyType) -> P11KeyType:
    """CKA_KEY_TYPE."""
    if type_.is_rsa:
        return P11KeyType.RSA
    if type_ is KeyType.ED25519:
        return P11KeyType.EC_EDWARDS
    if type_.has_public_key:
        return P11KeyType.EC
    return P11KeyType.GENERIC_SECRET if type_ is KeyType.HMAC else P11KeyType.AES


def rsa_parts(private_key: rsa.RSAPrivateKey) -> Template:
    numbers = private_key.private_numbers()
    return {
        **public_parts(KeyType.RSA_2048, private_key.public_key()),
        Attribute.PRIVATE_EXPONENT: _number(numbers.d),
        Attribute.PRIME_1: _number(numbers.p),
        Attribute.PRIME_2: _number(numbers.q),
        Attribute.EXPONENT_1: _number(numbers.dmp1),
        Attribute.EXPONENT_2: _number(numbers.dmq1),
        Attribute.COEFFICIENT: _number(numbers.iqmp),
    }


def curve_parts(type_: KeyType, value: bytes) -> Template:
    """Of a private key on a curve; `value` is its number or seed."""
    return {Attribute.EC_PARAMS: objects.EC_PARAMS[type_], Attribute.VALUE: value}


def public_parts(type_: KeyType, key: Any) -> Template:
    """Of a public key of that type."""
    match key:
        case rsa.RSAPublicKey():
            numbers = key.public_numbers()
            return {Attribute.MODULUS: _number(numbers.n), Attribute.PUBLIC_EXPONENT: _number(numbers.e)}
        case ed25519.Ed25519PublicKey():
            point = key.public_bytes_raw()
        case _:
            point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    # An OCTET STRING of at most 127 bytes: P-384's point has 97.
    wrapped = b"\x04" + bytes((len(point),)) + point
    return {Attribute.EC_PARAMS: objects.EC_PARAMS[type_], Attribute.EC_POINT: wrapped}


def is_public_key_of(type_: KeyType, key: Any) -> bool:
    """Whether it is of the type, and on its curve or of its size."""
    match key:
        case rsa.RSAPublicKey():
            return type_.is_rsa and key.key_size == type_.rsa_bits
        case ec.EllipticCurvePublicKey():
            return objects.is_on_curve(type_, key.curve)
        case ed25519.Ed25519PublicKey():
            return type_ is KeyType.ED25519
    return False


def _protected(key: SigningKey) -> Template:
    """Never readable; able to leave, wrapped, only where the configuration says by what."""
    can_leave = key.wrapped_by is not None
    return {Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: can_leave}


def _number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")
