"""How signatures are laid out: DER, r || s, r || s || v; and which of two equal ones is given out. Pure."""

from __future__ import annotations

import coincurve
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from secretsd.signing.errors import SigningError
from secretsd.signing.model import KeyType, Marshaling

# The orders of the curves' groups (FIPS 186-5, SEC 2).
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_P384_ORDER = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    16,
)
_SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
ORDERS = {KeyType.P256: _P256_ORDER, KeyType.P384: _P384_ORDER, KeyType.SECP256K1: _SECP256K1_ORDER}
_RECOVERY_IDS = (0, 1)
_ETH_BYTES = 65


def order_bytes(curve: KeyType) -> int:
    """How long r and s are each, in every layout but DER."""
    return (ORDERS[curve].bit_length() + 7) // 8


def low_s(curve: KeyType, raw: bytes) -> bytes:
    """The token's r || s with the smaller of the two s that are equally valid (BIP 62, EIP-2).

    Raises: SigningError, where it is no signature on this curve: what a broken token says must not get out.
    """
    size, order = order_bytes(curve), ORDERS[curve]
    r, s = _numbers(raw)
    if len(raw) != 2 * size or not _are_possible(curve, r, s):
        raise SigningError(
            "key-unfit",
            f"the token's answer is no signature by a key of type {curve}",
            advice="see secretsctl keys list, and compare the private key's curve on the token",
        )
    return raw if s <= order // 2 else raw[:size] + (order - s).to_bytes(size, "big")


def marshaled(raw: bytes, marshaling: Marshaling, digest: bytes, public_key: bytes | None) -> bytes:
    """r || s with a low s, as the client wants it. `public_key` is DER and needed for ETH alone."""
    if marshaling is Marshaling.JWS:
        return raw
    if marshaling is Marshaling.ETH:
        return raw + bytes((recovery_id(raw, digest, public_key or b""),))
    return encode_dss_signature(*_numbers(raw))


def unmarshaled(curve: KeyType, signature: bytes, marshaling: Marshaling) -> bytes | None:
    """DER of a signature in any layout; None where it cannot be one.

    DER must be strict: with other encodings of the same numbers one signature would have many forms.
    """
    size = order_bytes(curve)
    if marshaling is Marshaling.ASN1:
        try:
            r, s = decode_dss_signature(signature)
        except ValueError:
            return None
        return signature if _are_possible(curve, r, s) and encode_dss_signature(r, s) == signature else None
    if marshaling is Marshaling.ETH:
        if len(signature) != _ETH_BYTES or signature[-1] not in _RECOVERY_IDS:
            return None
        signature = signature[:-1]
    if len(signature) != 2 * size:
        return None
    r, s = _numbers(signature)
    return encode_dss_signature(r, s) if _are_possible(curve, r, s) else None


def recovery_id(raw: bytes, digest: bytes, public_key: bytes) -> int:
    """0 or 1: with which one the public key comes out of signature and digest (SEC 1, 4.1.6).

    Raises: SigningError, where neither does: the token's key is not the public key's other half.
    """
    # SubjectPublicKeyInfo of this curve ends with the uncompressed point.
    point = public_key[-64:]
    for id_ in _RECOVERY_IDS:
        try:
            found = coincurve.PublicKey.from_signature_and_message(raw + bytes((id_,)), digest, hasher=None)
        except Exception:  # noqa: BLE001, S112 - coincurve raises its C library's verdict as a bare Exception
            continue
        if found.format(compressed=False)[1:] == point:
            return id_
    raise SigningError(
        "key-unfit",
        "the token's private key does not belong to its public key",
        advice="see secretsctl keys list, and put a matching public key on the token",
    )


def recovers(signature: bytes, digest: bytes, public_key: bytes) -> bool:
    """Whether r || s || v gives the public key, the recovery id included."""
    try:
        found = coincurve.PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except Exception:  # noqa: BLE001 - as above
        return False
    return bool(found.format(compressed=False)[1:] == public_key[-64:])


def _numbers(raw: bytes) -> tuple[int, int]:
    size = len(raw) // 2
    return int.from_bytes(raw[:size], "big"), int.from_bytes(raw[size:], "big")


def _are_possible(curve: KeyType, r: int, s: int) -> bool:
    """Both from 1 to the order less one (FIPS 186-5, 6.4.2)."""
    order = ORDERS[curve]
    return 0 < r < order and 0 < s < order
