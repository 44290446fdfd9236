"""Keys from files, as the token takes them. No text of an error ever shows what the file holds."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)

from secretsd.errors import ExitCode, SecretsdError
from secretsd.signing.model import KeyType

_CURVES = {KeyType.P256: "secp256r1", KeyType.P384: "secp384r1", KeyType.SECP256K1: "secp256k1"}
_AES_BYTES = 32


class MaterialError(SecretsdError):
    """The file holds no key that fits."""

    exit_code = ExitCode.DATA
    code = "bad-material"


def parse(content: bytes, form: str, key_type: str) -> bytes:
    """PKCS#8 DER of a key pair (RFC 5208), or the bytes of an hmac or aes key.

    `form` is pem, der, raw, hex or base64; empty is found out, for key pairs alone. PEM and DER may be
    PKCS#8 and, of RSA and EC, PKCS#1 and SEC1. Raises: MaterialError.
    """
    type_ = KeyType(key_type)
    return _pair(content, form, type_) if type_.has_public_key else _secret(content, form, type_)


def _pair(content: bytes, form: str, type_: KeyType) -> bytes:
    if form not in ("", "pem", "der"):
        raise MaterialError(f"a key of type {type_} comes as pem or der", advice="leave --format away")
    is_pem = form == "pem" or (not form and b"-----BEGIN" in content)
    load = load_pem_private_key if is_pem else load_der_private_key
    try:
        private = load(content, None)
    except TypeError:  # what cryptography says of a password that is missing
        raise MaterialError(
            "the key is encrypted with a password", advice="openssl pkcs8 -topk8 -nocrypt -in FILE"
        ) from None
    except Exception:  # noqa: BLE001 - whatever it says may quote the file
        raise MaterialError(
            "the file holds no private key in PEM or DER",
            advice="look at it with: openssl pkey -noout -in FILE",
        ) from None
    if not _fits(private, type_):
        raise MaterialError(
            f"the key in the file is not of type {type_}",
            advice="correct type in the configuration, or the file",
        )
    return private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _fits(private: object, type_: KeyType) -> bool:
    match private:
        case ec.EllipticCurvePrivateKey():
            return private.curve.name == _CURVES.get(type_)
        case rsa.RSAPrivateKey():
            return private.key_size == type_.rsa_bits
        case ed25519.Ed25519PrivateKey():
            return type_ is KeyType.ED25519
        case _:
            return False


def _secret(content: bytes, form: str, type_: KeyType) -> bytes:
    match form:
        case "raw":
            material = content
        case "hex":
            material = _decoded(content, "hex", binascii.unhexlify)
        case "base64":
            material = _decoded(content, "base64", lambda text: base64.b64decode(text, validate=True))
        case _:
            raise MaterialError(
                "it cannot be known how the file holds this key", advice="add --format raw, hex or base64"
            )
    if type_ is not KeyType.HMAC and len(material) != _AES_BYTES:
        raise MaterialError(f"a key of type {type_} has {_AES_BYTES} bytes, not {len(material)}")
    if not material:
        raise MaterialError("the file is empty")
    return material


def _decoded(content: bytes, form: str, decode: Callable[[bytes], bytes]) -> bytes:
    try:
        return decode(b"".join(content.split()))
    except (ValueError, binascii.Error):
        raise MaterialError(f"the file is not {form}", advice="name what it is with --format") from None
