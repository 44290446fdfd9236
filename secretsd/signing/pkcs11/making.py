"""New versions of keys, made by the token or imported; and what a retired one loses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key
from pkcs11 import Attribute, ObjectClass, Session
from pkcs11.exceptions import AttributeReadOnly, PKCS11Error

from secretsd.config.signer import SigningKey
from secretsd.signing.errors import SigningError
from secretsd.signing.model import KeyType, KeyVersion
from secretsd.signing.pkcs11 import objects, templates
from secretsd.signing.pkcs11.templates import Template

_PUBLIC_EXPONENT = b"\x01\x00\x01"


def generate(session: Session, name: str, key: SigningKey, number: int) -> None:
    """Raises: PKCS11Error."""
    type_ = KeyType(key.type)
    kind = templates.kind_of(type_)
    shared = templates.common(name, key, number)
    if not type_.has_public_key:
        length = templates.HMAC_KEY_BYTES if type_ is KeyType.HMAC else templates.AES_KEY_BYTES
        session.generate_key(kind, length * 8, template=templates.secret(key, shared))
        return
    public, private = templates.public(shared), templates.private(key, shared)
    if type_.is_rsa:
        public[Attribute.PUBLIC_EXPONENT] = _PUBLIC_EXPONENT
        bits = type_.rsa_bits
        session.generate_keypair(kind, bits, public_template=public, private_template=private)
    else:
        curve = {Attribute.EC_PARAMS: objects.EC_PARAMS[type_]}
        domain = session.create_domain_parameters(kind, curve, local=True)
        domain.generate_keypair(public_template=public, private_template=private)


def import_key(session: Session, name: str, key: SigningKey, number: int, *, material: bytes) -> None:
    """Raises: SigningError key-unfit, PKCS11Error."""
    type_ = KeyType(key.type)
    shared = templates.common(name, key, number)
    if not type_.has_public_key:
        _import_secret(session, name, key, shared, material)
        return
    parts, public = _parts(name, key, material)
    half = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.KEY_TYPE: templates.kind_of(type_)}
    found = session.create_object({**half, **templates.private(key, shared), **parts})
    with destroyed_if_this_fails(found):
        create_public(session, type_, shared, public)


def create_public(session: Session, type_: KeyType, shared: Template, public: Any) -> None:
    """The public half of a version. Raises: PKCS11Error."""
    half = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.KEY_TYPE: templates.kind_of(type_)}
    session.create_object({**half, **templates.public(shared), **templates.public_parts(type_, public)})


@contextlib.contextmanager
def destroyed_if_this_fails(found: Any) -> Iterator[None]:
    """Half a key would stand in the way of the next try, and make the whole key unfit."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(PKCS11Error):
            found.destroy()
        raise


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


def _parts(name: str, key: SigningKey, material: bytes) -> tuple[Template, Any]:
    """The attributes of a private key in PKCS#8, and its public key. Raises: SigningError key-unfit."""
    type_ = KeyType(key.type)
    try:
        private = load_der_private_key(material, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _not_of_type(name, key) from None
    if not templates.is_public_key_of(type_, private.public_key()):
        raise _not_of_type(name, key)
    match private:
        case rsa.RSAPrivateKey():
            return templates.rsa_parts(private), private.public_key()
        case ec.EllipticCurvePrivateKey():
            size = (private.curve.key_size + 7) // 8
            value = private.private_numbers().private_value.to_bytes(size, "big")
            return templates.curve_parts(type_, value), private.public_key()
        case ed25519.Ed25519PrivateKey():
            value = private.private_bytes_raw()
            return templates.curve_parts(type_, value), private.public_key()
    raise _not_of_type(name, key)


def _import_secret(session: Session, name: str, key: SigningKey, shared: Template, material: bytes) -> None:
    type_ = KeyType(key.type)
    value, is_good = material, len(material) == templates.AES_KEY_BYTES
    if type_ is KeyType.HMAC:
        value, is_good = material.ljust(templates.HMAC_KEY_BYTES, b"\0"), bool(material)
    if not is_good:
        raise _not_of_type(name, key)
    half = {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: templates.kind_of(type_),
        Attribute.VALUE: value,
    }
    session.create_object({**half, **templates.secret(key, shared)})


def _not_of_type(name: str, key: SigningKey) -> SigningError:
    return SigningError(
        "key-unfit",
        f"this is no {key.type} key, as {name} is configured",
        advice="give PKCS#8, or for hmac and aes the key's bytes",
    )
