"""Layouts of signatures: one signature has one form, and nothing that is sent is taken for another."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from secretsd.signing.encodings import (
    ORDERS,
    low_s,
    marshaled,
    order_bytes,
    recovers,
    recovery_id,
    unmarshaled,
)
from secretsd.signing.errors import SigningError
from secretsd.signing.model import KeyType, Marshaling

CURVES = tuple(ORDERS)
SIZES = {KeyType.P256: 32, KeyType.P384: 48, KeyType.SECP256K1: 32}
GOOD = encode_dss_signature(5, 7)  # 30 06 02 01 05 02 01 07

curves = st.sampled_from(CURVES)


@st.composite
def signatures(draw: st.DrawFn) -> tuple[KeyType, bytes]:
    """A curve and r || s, both within the order and not zero; the edges come often."""
    curve = draw(curves)
    edges = st.sampled_from((1, 2, 0x7F, 0x80, ORDERS[curve] // 2, ORDERS[curve] // 2 + 1, ORDERS[curve] - 1))
    number = edges | st.integers(1, ORDERS[curve] - 1)
    return curve, b"".join(draw(number).to_bytes(SIZES[curve], "big") for _ in range(2))


@given(signatures())
def test_every_layout_comes_back(given_: tuple[KeyType, bytes]) -> None:
    curve, raw = given_
    der = marshaled(raw, Marshaling.ASN1, b"", None)
    assert unmarshaled(curve, der, Marshaling.ASN1) == der
    assert unmarshaled(curve, raw, Marshaling.JWS) == der
    assert marshaled(raw, Marshaling.JWS, b"", None) == raw
    if curve is KeyType.SECP256K1:
        for id_ in (0, 1):
            assert unmarshaled(curve, raw + bytes((id_,)), Marshaling.ETH) == der


@given(signatures())
def test_of_two_twins_the_low_one_leaves(given_: tuple[KeyType, bytes]) -> None:
    curve, raw = given_
    size, order = SIZES[curve], ORDERS[curve]
    s = int.from_bytes(raw[size:], "big")
    twin = raw[:size] + (order - s).to_bytes(size, "big")
    low = low_s(curve, raw)
    assert low in (raw, twin)
    assert low == low_s(curve, twin) == low_s(curve, low)
    assert int.from_bytes(low[size:], "big") <= order // 2
    assert len(low) == 2 * size == 2 * order_bytes(curve)


@pytest.mark.parametrize("curve", CURVES)
def test_what_a_broken_token_answers_does_not_get_out_as_a_signature(curve: KeyType) -> None:
    size, order = SIZES[curve], ORDERS[curve]
    one, most = (1).to_bytes(size, "big"), (order - 1).to_bytes(size, "big")
    assert low_s(curve, one + one) == low_s(curve, one + most) == one + one
    zero, too_large, largest = bytes(size), order.to_bytes(size, "big"), b"\xff" * size
    broken = [b"\1" * length for length in range(150) if length != 2 * size]
    for bad in (zero, too_large, largest):
        broken += [bad + one, one + bad, bad + bad]
    for raw in broken:
        with pytest.raises(SigningError) as caught:
            low_s(curve, raw)
        assert caught.value.code == "key-unfit"
        if len(raw) == 2 * size:
            assert unmarshaled(curve, raw, Marshaling.JWS) is None


NASTY_DER = {
    "nothing": b"",
    "a byte more": GOOD + b"\0",
    "a byte less": GOOD[:-1],
    "a byte more inside": bytes.fromhex("3007 0201 05 0201 07 00"),
    "three numbers": bytes.fromhex("3009 0201 05 0201 07 0201 01"),
    "one number": bytes.fromhex("3003 0201 05"),
    "a length in the long form": bytes.fromhex("308106 0201 05 0201 07"),
    "a number's length in the long form": bytes.fromhex("3007 028101 05 0201 07"),
    "an indefinite length": bytes.fromhex("3080 0201 05 0201 07 0000"),
    "a zero in front": bytes.fromhex("3007 0202 0005 0201 07"),
    "a negative r": bytes.fromhex("3006 0201 85 0201 07"),
    "a negative s": bytes.fromhex("3006 0201 05 0201 87"),
    "r of zero": bytes.fromhex("3006 0201 00 0201 07"),
    "s of zero": bytes.fromhex("3006 0201 05 0201 00"),
    "an empty number": bytes.fromhex("3005 0200 0201 07"),
    "a set": bytes.fromhex("3106 0201 05 0201 07"),
    "octets": bytes.fromhex("3006 0401 05 0201 07"),
    "a length beyond the end": bytes.fromhex("3006 0201 05 027f 07"),
    "a huge length": bytes.fromhex("3084ffffffff 0201 05 0201 07"),
}


@pytest.mark.parametrize("der", NASTY_DER.values(), ids=NASTY_DER.keys())
@pytest.mark.parametrize("curve", CURVES)
def test_der_that_is_not_strict_is_no_signature(curve: KeyType, der: bytes) -> None:
    assert unmarshaled(curve, GOOD, Marshaling.ASN1) == GOOD
    assert unmarshaled(curve, der, Marshaling.ASN1) is None


@given(curves, st.sampled_from(tuple(Marshaling)), st.binary(max_size=200))
def test_any_bytes_are_a_signature_of_one_form_or_none(curve: KeyType, how: Marshaling, data: bytes) -> None:
    der = unmarshaled(curve, data, how)
    if der is not None:
        r, s = decode_dss_signature(der)
        assert r > 0
        assert s > 0
        assert encode_dss_signature(r, s) == der


@pytest.mark.parametrize("curve", CURVES)
def test_lengths_of_raw_signatures_are_exact(curve: KeyType) -> None:
    size = SIZES[curve]
    for length in range(150):
        raw = b"\1" * length
        assert (unmarshaled(curve, raw, Marshaling.JWS) is not None) == (length == 2 * size)
        # The last byte is a recovery id that exists.
        assert (unmarshaled(curve, raw, Marshaling.ETH) is not None) == (length == 2 * size + 1 == 65)
    half, zero = b"\1" * size, bytes(size)
    assert unmarshaled(curve, zero + half, Marshaling.JWS) is None
    assert unmarshaled(curve, half + zero, Marshaling.JWS) is None


def test_only_recovery_ids_that_are_given_out_are_taken() -> None:
    taken = [
        v for v in range(256) if unmarshaled(KeyType.SECP256K1, b"\1" * 64 + bytes((v,)), Marshaling.ETH)
    ]
    assert taken == [0, 1]


def test_the_recovery_id_follows_s_to_its_twin() -> None:
    """A recovery id that was found before s was changed points at a stranger's key."""
    ids = set()
    for number in range(16):
        private = ec.generate_private_key(ec.SECP256K1())
        public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        digest = hashlib.sha256(bytes((number,))).digest()
        r, s = decode_dss_signature(private.sign(digest, ec.ECDSA(Prehashed(SHA256()))))
        for each in (s, ORDERS[KeyType.SECP256K1] - s):
            raw = r.to_bytes(32, "big") + each.to_bytes(32, "big")
            id_ = recovery_id(raw, digest, public)
            ids.add(id_)
            assert recovers(raw + bytes((id_,)), digest, public)
            assert not recovers(raw + bytes((1 - id_,)), digest, public)
            assert not recovers(raw + bytes((id_,)), hashlib.sha256(digest).digest(), public)
    assert ids == {0, 1}


def test_a_private_key_that_is_not_the_public_one_s_other_half_is_noticed() -> None:
    private, other = (ec.generate_private_key(ec.SECP256K1()) for _ in range(2))
    digest = hashlib.sha256(b"message").digest()
    r, s = decode_dss_signature(private.sign(digest, ec.ECDSA(Prehashed(SHA256()))))
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    public = other.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(SigningError) as caught:
        recovery_id(raw, digest, public)
    assert caught.value.code == "key-unfit"
    assert not recovers(b"\xff" * 65, digest, public)
