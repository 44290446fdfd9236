"""Signatures checked in software, with the public key: the token has better things to do. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import coincurve
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import load_der_public_key

from secretsd.signing.encodings import ORDERS, order_bytes, recovers, unmarshaled
from secretsd.signing.model import SALT_AUTO, Hash, KeyType, KeyVersion, Marshaling, Padding

_HASHES: dict[Hash, hashes.HashAlgorithm] = {
    Hash.SHA2_256: hashes.SHA256(),
    Hash.SHA2_384: hashes.SHA384(),
    Hash.SHA2_512: hashes.SHA512(),
}


@lru_cache(maxsize=1024)
def _secp256k1(public_key: bytes) -> coincurve.PublicKey:
    # SubjectPublicKeyInfo of this curve ends with the uncompressed point.
    return coincurve.PublicKey(public_key[-65:])


@lru_cache(maxsize=1024)
def _loaded(public_key: bytes) -> Any:
    return load_der_public_key(public_key)


def verify_ecdsa(
    key: KeyVersion, signature: bytes, marshaling: Marshaling, digest: bytes, hash_: Hash
) -> bool:
    """Whether the signature is good for the digest. With a high s, too: other signers give those out."""
    der = unmarshaled(key.type, signature, marshaling)
    if der is None:
        return False
    if marshaling is Marshaling.ETH:
        # A signature that the public key comes out of is good for it: it is the same equation (SEC 1, 4.1.6).
        return recovers(signature, digest, key.public_key or b"")
    if key.type is KeyType.SECP256K1:
        return _is_good_secp256k1(key.public_key or b"", der, digest)
    public: ec.EllipticCurvePublicKey = _loaded(key.public_key or b"")
    return _is_good(public.verify, der, digest, ec.ECDSA(Prehashed(_HASHES[hash_])))


def verify_ed25519(key: KeyVersion, signature: bytes, message: bytes) -> bool:
    """RFC 8032, pure."""
    public: ed25519.Ed25519PublicKey = _loaded(key.public_key or b"")
    return _is_good(public.verify, signature, message)


def verify_rsa(
    key: KeyVersion, signature: bytes, scheme: Padding, digest: bytes, hash_: Hash, salt_bytes: int
) -> bool:
    """RFC 8017. `salt_bytes` is a length, or SALT_AUTO for any."""
    public: rsa.RSAPublicKey = _loaded(key.public_key or b"")
    algorithm = _HASHES[hash_]
    if scheme is Padding.PKCS1V15:
        return _is_good(public.verify, signature, digest, padding.PKCS1v15(), Prehashed(algorithm))
    salt: Any = padding.PSS.AUTO if salt_bytes == SALT_AUTO else salt_bytes
    pss = padding.PSS(padding.MGF1(algorithm), salt)
    return _is_good(public.verify, signature, digest, pss, Prehashed(algorithm))


def _is_good_secp256k1(public_key: bytes, der: bytes, digest: bytes) -> bool:
    """By the library that is made for this curve: OpenSSL takes ten times as long, and with
    `dispatch = "inline"` everybody waits for it.
    """
    r, s = decode_dss_signature(der)
    # That library calls a high s bad. Of two twins both are good or neither.
    low = encode_dss_signature(r, min(s, ORDERS[KeyType.SECP256K1] - s))
    # Of a digest that is longer than the order the leftmost bits count (FIPS 186-5, 6.4.2).
    return _secp256k1(public_key).verify(low, digest[: order_bytes(KeyType.SECP256K1)], hasher=None)


def _is_good(verify: Any, *arguments: Any) -> bool:
    try:
        verify(*arguments)
    except InvalidSignature:
        return False
    return True
