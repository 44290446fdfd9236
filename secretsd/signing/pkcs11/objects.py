"""Keys as objects of a token: how a configured key is found, and what it must be to be used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, ObjectClass, Session
from pkcs11 import KeyType as P11KeyType
from pkcs11.exceptions import AttributeSensitive, AttributeTypeInvalid

from secretsd.config.signer import SigningKey
from secretsd.signing.errors import SigningError
from secretsd.signing.model import KeyType, KeyVersion

_MOST_VERSIONS = 1000
# DER of the curves' object identifiers (RFC 5480, SEC 2, RFC 8410).
EC_PARAMS = {
    KeyType.P256: bytes.fromhex("06082a8648ce3d030107"),
    KeyType.P384: bytes.fromhex("06052b81040022"),
    KeyType.SECP256K1: bytes.fromhex("06052b8104000a"),
    KeyType.ED25519: bytes.fromhex("06032b6570"),
}
# PKCS#11 3.0 also names Edwards curves by a printable string.
_ED25519_NAMES = (EC_PARAMS[KeyType.ED25519], b"\x13\x0cedwards25519")
_CURVES: dict[KeyType, ec.EllipticCurve] = {
    KeyType.P256: ec.SECP256R1(),
    KeyType.P384: ec.SECP384R1(),
    KeyType.SECP256K1: ec.SECP256K1(),
}
_HMAC_KEY_TYPES = frozenset(
    {P11KeyType.GENERIC_SECRET, P11KeyType.SHA256_HMAC, P11KeyType.SHA384_HMAC, P11KeyType.SHA512_HMAC}
)
_AES_256_BYTES = 32
_USES = {  # what a version that is not retired may do
    KeyType.AES_GCM: Attribute.ENCRYPT,
    KeyType.AES_WRAP: Attribute.WRAP,
}


def label_of(name: str, key: SigningKey, number: int) -> str:
    """CKA_LABEL of a version: the first has the plain one."""
    label = key.label or name
    return label if number == 1 else f"{label}:v{number}"


def place_of(name: str, key: SigningKey, number: int) -> str:
    """Where a version is looked for, in words."""
    return f"CKA_ID {key.id}" if key.id is not None else f"the label {label_of(name, key, number)}"


def object_class(type_: KeyType) -> ObjectClass:
    """Where the half is that must not leave the token."""
    return ObjectClass.PRIVATE_KEY if type_.has_public_key else ObjectClass.SECRET_KEY


def object_class_of(key: SigningKey) -> ObjectClass:
    """The same, of a configured key."""
    return object_class(KeyType(key.type))


def use_attribute(type_: KeyType) -> Attribute:
    """What is cleared to retire a version."""
    return _USES.get(type_, Attribute.SIGN)


def find(session: Session, name: str, key: SigningKey, number: int, class_: ObjectClass) -> Any:
    """The one object of the class; None where there is none. Always by class too: halves share a label.

    Raises: SigningError key-ambiguous.
    """
    template: dict[Attribute, Any] = {Attribute.CLASS: class_, Attribute.TOKEN: True}
    if key.id is not None:
        template[Attribute.ID] = bytes.fromhex(key.id)
    else:
        template[Attribute.LABEL] = label_of(name, key, number)
    found = list(session.get_objects(template))
    if len(found) > 1:
        raise SigningError(
            "key-ambiguous",
            f"the token has {len(found)} objects of class {class_.name.lower()}"
            f" with {place_of(name, key, number)}",
            advice=f"rename or remove all but one, or set id in [signer.keys.{name}]",
        )
    return found[0] if found else None


def versions(session: Session, name: str, key: SigningKey) -> Iterator[KeyVersion]:
    """Every version on the token, oldest first.

    Raises: SigningError key-missing, key-ambiguous, key-unfit.
    """
    for number in range(1, _MOST_VERSIONS):
        secret = find(session, name, key, number, object_class(KeyType(key.type)))
        if secret is None:
            if number == 1:
                raise SigningError(
                    "key-missing",
                    f"the token has no {key.type} key with {place_of(name, key, 1)}",
                    advice=f"secretsctl keys generate {name}, or correct label or id",
                )
            return
        yield _version(session, name, key, number, secret)
        if key.id is not None:
            return


def is_of(version: KeyVersion, key: SigningKey) -> bool:
    """Whether `version` was found for the key as it is configured here."""
    return version.type == key.type and version.place == place_of(version.key, key, version.number)


def _version(session: Session, name: str, key: SigningKey, number: int, secret: Any) -> KeyVersion:
    type_ = KeyType(key.type)
    public_key = None
    if type_.has_public_key:
        public = find(session, name, key, number, ObjectClass.PUBLIC_KEY)
        public_key = public_key_of(type_, secret, public)
        if public_key is None:
            raise _unfit(name, key, number, "has no public half, or one of another type")
    if not _is_of_type(type_, secret):
        raise _unfit(name, key, number, "is of another type or size")
    is_retired = not _flag(secret, use_attribute(type_))
    return KeyVersion(name, number, type_, public_key, is_retired, place_of(name, key, number))


def _unfit(name: str, key: SigningKey, number: int, what: str) -> SigningError:
    return SigningError(
        "key-unfit",
        f"version {number} of {name} on the token {what}: it is configured as {key.type}",
        advice=f"correct type in [signer.keys.{name}], or put a key of that type on the token",
    )


def _attribute(found: Any, attribute: Attribute) -> Any:
    try:
        return found[attribute]
    except (AttributeTypeInvalid, AttributeSensitive):
        return None


def _flag(found: Any, attribute: Attribute) -> bool:
    return bool(_attribute(found, attribute))


def _is_of_type(type_: KeyType, found: Any) -> bool:
    kind = found.key_type
    match type_:
        case KeyType.ED25519:
            return kind is P11KeyType.EC_EDWARDS
        case KeyType.HMAC:
            return kind in _HMAC_KEY_TYPES
        case KeyType.AES_GCM | KeyType.AES_WRAP:
            # SoftHSM knows no length of a key that was unwrapped.
            length = _attribute(found, Attribute.VALUE_LEN) or _AES_256_BYTES
            return kind is P11KeyType.AES and length == _AES_256_BYTES
        case _ if type_.is_rsa:
            return kind is P11KeyType.RSA
    # Of a private key not every token tells the curve.
    curve = _attribute(found, Attribute.EC_PARAMS) or EC_PARAMS[type_]
    return kind is P11KeyType.EC and curve == EC_PARAMS[type_]


def public_key_of(type_: KeyType, secret: Any, public: Any) -> bytes | None:
    """DER SubjectPublicKeyInfo (RFC 5280); None where the objects are not a pair of this type."""
    try:
        key = _rsa_public(type_, public or secret) if type_.is_rsa else _point(type_, public)
    except (ValueError, UnsupportedAlgorithm, KeyError):
        return None
    return None if key is None else key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _rsa_public(type_: KeyType, found: Any) -> rsa.RSAPublicKey | None:
    modulus = _attribute(found, Attribute.MODULUS)
    exponent = _attribute(found, Attribute.PUBLIC_EXPONENT)
    if not modulus or not exponent:
        return None
    number = int.from_bytes(modulus, "big")
    if number.bit_length() != type_.rsa_bits:
        return None
    return rsa.RSAPublicNumbers(int.from_bytes(exponent, "big"), number).public_key()


def _point(type_: KeyType, public: Any) -> ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | None:
    if public is None:
        return None
    parameters = bytes(_attribute(public, Attribute.EC_PARAMS) or b"")
    point = unwrapped_point(bytes(_attribute(public, Attribute.EC_POINT) or b""))
    if type_ is KeyType.ED25519:
        is_named = parameters in _ED25519_NAMES
        return ed25519.Ed25519PublicKey.from_public_bytes(point) if is_named else None
    if parameters != EC_PARAMS[type_]:
        return None
    return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[type_], point)


def is_on_curve(type_: KeyType, curve: ec.EllipticCurve) -> bool:
    return type_ in _CURVES and _CURVES[type_].name == curve.name


def unwrapped_point(value: bytes) -> bytes:
    """CKA_EC_POINT without the OCTET STRING around it (PKCS#11 2.40, 2.3.3); some tokens leave that out."""
    if len(value) > 2 and value[0] == 4 and value[1] == len(value) - 2 and value[1] < 0x80:
        return value[2:]
    if len(value) > 3 and value[:2] == b"\x04\x81" and value[2] == len(value) - 3:
        return value[3:]
    return value
