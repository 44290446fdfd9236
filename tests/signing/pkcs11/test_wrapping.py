"""Keys that leave and enter wrapped: a blob is carried by people, and may be altered on its way."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from secretsd.signing.errors import SigningError
from secretsd.signing.mechanisms import work
from secretsd.signing.model import KeyVersion, Operation, Request
from secretsd.signing.pkcs11.lane import Lane
from secretsd.signing.pkcs11.token import Token
from tests.signing.dispatching import signer_config
from tests.signing.softhsm import SoftHsm

HEAD = struct.Struct("!4sH")
KEYS: dict[str, dict[str, Any]] = {
    "kek": {"type": "aes256-wrap"},
    "other-kek": {"type": "aes256-wrap"},
    "ether": {"type": "ecdsa-secp256k1", "operations": ["sign", "wrap", "unwrap"], "wrapped_by": "kek"},
    "ether-back": {"type": "ecdsa-secp256k1", "operations": ["sign", "unwrap"], "wrapped_by": "kek"},
    "p256-back": {"type": "ecdsa-p256", "operations": ["sign", "unwrap"], "wrapped_by": "kek"},
    "rsa": {"type": "rsa-2048", "operations": ["sign", "wrap"], "wrapped_by": "kek"},
    "rsa-back": {"type": "rsa-2048", "operations": ["sign", "unwrap"], "wrapped_by": "kek"},
    "mac": {"type": "hmac", "operations": ["hmac", "wrap"], "wrapped_by": "kek"},
    "mac-back": {"type": "hmac", "operations": ["hmac", "unwrap"], "wrapped_by": "kek"},
    "ed": {"type": "ed25519", "operations": ["sign", "wrap"], "wrapped_by": "kek"},
}


@pytest.fixture
def lane(softhsm: SoftHsm) -> Iterator[Lane]:
    token = Token(signer_config(softhsm, KEYS))
    token.open()
    lane = token.lane()
    for name in KEYS:
        if not name.endswith("-back"):
            lane.generate(name)
    yield lane
    token.close()


def _versions(lane: Lane, name: str) -> tuple[KeyVersion, ...]:
    return lane._token.keys.get(name, ())


def _signature_is_good(lane: Lane, key: KeyVersion) -> bool:
    signature = work(Request(Operation.SIGN, key.key, b"message"), key)(lane)
    return work(Request(Operation.VERIFY, key.key, b"message", check=signature), key)(lane) == b"\1"


def _refused(lane: Lane, name: str, blob: bytes) -> SigningError:
    before = _versions(lane, name)
    with pytest.raises(SigningError) as caught:
        lane.unwrap(name, blob)
    assert _versions(lane, name) == before
    lane.survey()
    assert _versions(lane, name) == before, "something was left on the token"
    return caught.value


def _with_public(blob: bytes, public: Any) -> bytes:
    """The blob with another public key beside the wrapped bytes."""
    magic, length = HEAD.unpack_from(blob)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return HEAD.pack(magic, len(der)) + der + blob[HEAD.size + length :]


@pytest.mark.parametrize(("name", "back"), [("ether", "ether-back"), ("rsa", "rsa-back")])
def test_a_pair_comes_back_as_it_left(lane: Lane, name: str, back: str) -> None:
    left = _versions(lane, name)[0]
    came = lane.unwrap(back, lane.wrap(name, 1))
    assert came.number == 1
    assert came.public_key == left.public_key
    assert _signature_is_good(lane, came)
    assert lane.unwrap(back, lane.wrap(name, 1)).number == 2


def test_a_secret_key_comes_back_as_it_left(lane: Lane) -> None:
    left, came = _versions(lane, "mac")[0], lane.unwrap("mac-back", lane.wrap("mac", 1))
    macs = [work(Request(Operation.HMAC, key.key, b"message"), key)(lane) for key in (left, came)]
    assert macs[0] == macs[1]


def test_a_public_key_that_was_put_beside_another_s_private_key_is_not_believed(lane: Lane) -> None:
    """Else clients would be shown an address whose private key the carrier of the blob has."""
    theirs = ec.generate_private_key(ec.SECP256K1()).public_key()
    blob = _with_public(lane.wrap("ether", 1), theirs)
    assert _refused(lane, "ether-back", blob).code == "bad-ciphertext"
    rsa_theirs = rsa.generate_private_key(65537, 2048).public_key()
    assert _refused(lane, "rsa-back", _with_public(lane.wrap("rsa", 1), rsa_theirs)).code == "bad-ciphertext"
    assert lane.unwrap("ether-back", lane.wrap("ether", 1)).number == 1


def test_a_key_of_another_type_does_not_enter(lane: Lane) -> None:
    blob = lane.wrap("ether", 1)
    assert _refused(lane, "p256-back", blob).code == "bad-ciphertext"
    p256 = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert _refused(lane, "p256-back", _with_public(blob, p256)).code == "bad-ciphertext"
    assert _refused(lane, "rsa-back", blob).code == "bad-ciphertext"
    assert _refused(lane, "mac-back", blob).code == "bad-ciphertext"


def test_each_altered_byte_and_each_cut_is_noticed(lane: Lane) -> None:
    blob = lane.wrap("ether", 1)
    for position in (*range(0, len(blob), 7), len(blob) - 1):
        altered = bytearray(blob)
        altered[position] ^= 1
        with pytest.raises(SigningError) as caught:
            lane.unwrap("ether-back", bytes(altered))
        assert caught.value.code == "bad-ciphertext", position
    for length in (0, 3, 6, 7, 100, len(blob) - 1):
        assert _refused(lane, "ether-back", blob[:length]).code == "bad-ciphertext"
    assert lane.unwrap("ether-back", blob).number == 1


def test_a_backup_outlives_the_newest_version_of_the_key_that_wrapped_it(lane: Lane) -> None:
    blob = lane.wrap("ether", 1)
    lane.generate("kek")
    assert lane.unwrap("ether-back", blob).number == 1
    lane.retire("kek", 1)
    assert lane.unwrap("ether-back", blob).number == 2, "a retired key still opens what it wrapped"
    assert lane.unwrap("ether-back", lane.wrap("ether", 1)).number == 3


def test_a_retired_key_wraps_nothing_any_more(lane: Lane) -> None:
    lane.retire("kek", 1)
    with pytest.raises(SigningError) as caught:
        lane.wrap("ether", 1)
    assert caught.value.code == "version-retired"
    assert "kek" in caught.value.sentence


def test_what_cannot_be_wrapped_is_said(lane: Lane) -> None:
    with pytest.raises(SigningError) as caught:
        lane.wrap("ed", 1)
    assert caught.value.code == "unsupported"
    assert _signature_is_good(lane, _versions(lane, "ed")[0])
