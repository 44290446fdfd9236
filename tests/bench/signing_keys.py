"""The keys of the signing figures: made once, and the same on the token and in OpenBao."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from secretsd.signing.model import KeyType

MESSAGE = b"BUY 1.50000000 BTC-USD @ 64000.00; order 7f3a; a message of 64 b"
_SHA256_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")  # RFC 8017, 9.2


@dataclass(frozen=True, slots=True)
class SigningKind:
    """One row's key. `mechanism` is PKCS#11's CKM_ number."""

    name: str
    type: KeyType
    mechanism: int

    @property
    def operation(self) -> str:
        return "hmac" if self.type is KeyType.HMAC else "sign"

    @property
    def operations(self) -> list[str]:
        """All that the signer may be asked to do with it."""
        return ["hmac", "verify"] if self.type is KeyType.HMAC else ["sign", "verify", "public-key"]

    @property
    def object_class(self) -> int:
        """CKO_PRIVATE_KEY or CKO_SECRET_KEY."""
        return 3 if self.type.has_public_key else 4

    @property
    def token_data(self) -> bytes:
        """What is left for the token to sign."""
        if self.type.is_ecdsa:
            return hashlib.sha256(MESSAGE).digest()
        if self.type.is_rsa:
            return _SHA256_DIGEST_INFO + hashlib.sha256(MESSAGE).digest()
        return MESSAGE


HMAC = SigningKind("hmac", KeyType.HMAC, 0x251)
P256 = SigningKind("p256", KeyType.P256, 0x1041)
SECP256K1 = SigningKind("secp256k1", KeyType.SECP256K1, 0x1041)
ED25519 = SigningKind("ed25519", KeyType.ED25519, 0x1057)
RSA = SigningKind("rsa", KeyType.RSA_2048, 0x1)
KINDS = (HMAC, P256, SECP256K1, ED25519, RSA)


def material(kind: SigningKind) -> bytes:
    """A new key: 32 bytes for an HMAC, else PKCS#8 DER."""
    match kind.type:
        case KeyType.HMAC:
            return os.urandom(32)
        case KeyType.P256:
            return _der(ec.generate_private_key(ec.SECP256R1()))
        case KeyType.SECP256K1:
            return _der(ec.generate_private_key(ec.SECP256K1()))
        case KeyType.ED25519:
            return _der(ed25519.Ed25519PrivateKey.generate())
        case _:
            return _der(rsa.generate_private_key(65537, 2048))


def _der(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
