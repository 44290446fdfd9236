"""Two libraries judge signatures: where they differ, a bad one passes or a good one does not."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from secretsd.signing.encodings import ORDERS, recovery_id
from secretsd.signing.model import Hash, KeyType, KeyVersion, Marshaling
from secretsd.signing.verifying import verify_ecdsa
from tests.signing import vectors

K1 = KeyType.SECP256K1
ORDER = ORDERS[K1]
PRIVATE = ec.derive_private_key(0x46, ec.SECP256K1())
ALGORITHMS: dict[Hash, Any] = {
    Hash.SHA2_256: hashes.SHA256(),
    Hash.SHA2_384: hashes.SHA384(),
    Hash.SHA2_512: hashes.SHA512(),
}


def _key(public: Any) -> KeyVersion:
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return KeyVersion("key", 1, K1, der, is_retired=False)


def _digest(hash_: Hash, message: bytes) -> bytes:
    return hashlib.new(hash_.replace("sha2-", "sha"), message).digest()


def _openssl(public: ec.EllipticCurvePublicKey, der: bytes, digest: bytes, hash_: Hash) -> bool:
    try:
        public.verify(der, digest, ec.ECDSA(Prehashed(ALGORITHMS[hash_])))
    except InvalidSignature:
        return False
    return True


def test_published_secp256k1_signatures_are_good_low_or_high_and_not_for_another_message() -> None:
    tried, high = 0, 0
    for section, block in vectors.read("asymmetric/ECDSA/SECP256K1/SigGen.txt"):
        hash_ = {"SHA-256": Hash.SHA2_256, "SHA-384": Hash.SHA2_384, "SHA-512": Hash.SHA2_512}.get(
            section.split(",")[1]
        )
        if hash_ is None:
            continue
        x, y = vectors.number(block, "Qx"), vectors.number(block, "Qy")
        key = _key(ec.EllipticCurvePublicNumbers(x, y, ec.SECP256K1()).public_key())
        r, s = vectors.number(block, "R"), vectors.number(block, "S")
        message = vectors.octets(block, "Msg")
        for each in (s, ORDER - s):
            der = encode_dss_signature(r, each)
            assert verify_ecdsa(key, der, Marshaling.ASN1, _digest(hash_, message), hash_)
            assert not verify_ecdsa(key, der, Marshaling.ASN1, _digest(hash_, message + b"x"), hash_)
            high += each > ORDER // 2
        tried += 1
    assert tried >= 30
    assert high == tried


EDGES = st.sampled_from((1, 2, ORDER // 2, ORDER // 2 + 1, ORDER - 1, ORDER, ORDER + 1, 2**256 - 1, 2**256))


@given(st.sampled_from(tuple(Hash)), st.binary(max_size=64), st.none() | EDGES, st.none() | EDGES)
def test_both_libraries_agree_on_any_numbers(
    hash_: Hash, message: bytes, other_r: int | None, other_s: int | None
) -> None:
    digest = _digest(hash_, message)
    r, s = decode_dss_signature(PRIVATE.sign(digest, ec.ECDSA(Prehashed(ALGORITHMS[hash_]))))
    der = encode_dss_signature(other_r or r, other_s or s)
    expected = _openssl(PRIVATE.public_key(), der, digest, hash_)
    assert expected or other_r or other_s
    assert verify_ecdsa(_key(PRIVATE.public_key()), der, Marshaling.ASN1, digest, hash_) == expected


@pytest.mark.parametrize("bit", range(0, 256, 5))
def test_a_digest_that_differs_in_one_bit_that_counts_is_another_one(bit: int) -> None:
    digest = bytes(range(64))
    der = PRIVATE.sign(digest, ec.ECDSA(Prehashed(hashes.SHA512())))
    key = _key(PRIVATE.public_key())
    assert verify_ecdsa(key, der, Marshaling.ASN1, digest, Hash.SHA2_512)
    number = int.from_bytes(digest, "big")
    counts = (number ^ 1 << (511 - bit)).to_bytes(64, "big")
    assert not verify_ecdsa(key, der, Marshaling.ASN1, counts, Hash.SHA2_512)
    # ECDSA does not see the rest: so it is in the standard, and so the other library has it.
    beyond = (number ^ 1 << (255 - bit)).to_bytes(64, "big")
    assert verify_ecdsa(key, der, Marshaling.ASN1, beyond, Hash.SHA2_512)
    assert _openssl(PRIVATE.public_key(), der, beyond, Hash.SHA2_512)


def test_what_recovers_the_public_key_is_good_and_nothing_else_is() -> None:
    """Of a signature with a recovery id the equation is not checked a second time."""
    key, public = _key(PRIVATE.public_key()), PRIVATE.public_key()
    good = 0
    for number in range(24):
        digest = _digest(Hash.SHA2_256, bytes((number,)))
        r, s = decode_dss_signature(PRIVATE.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
        for each_r, each_s in ((r, s), (r, ORDER - s), (r, s ^ 1), (r ^ 1, s), (s, r), (r, 1)):
            der = encode_dss_signature(each_r, each_s)
            raw = each_r.to_bytes(32, "big") + each_s.to_bytes(32, "big")
            verdicts = [
                verify_ecdsa(key, raw + bytes((id_,)), Marshaling.ETH, digest, Hash.SHA2_256)
                for id_ in (0, 1)
            ]
            is_good = _openssl(public, der, digest, Hash.SHA2_256)
            assert sum(verdicts) == is_good
            if is_good:
                good += 1
                assert verdicts[recovery_id(raw, digest, key.public_key or b"")]
    assert good == 24 * 2
