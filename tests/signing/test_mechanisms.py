"""What is asked of the token: what does not fit must never reach it, and no digest of a wrong length."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import product

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from secretsd.signing.encodings import ORDERS, order_bytes
from secretsd.signing.errors import SigningError
from secretsd.signing.mechanisms import mechanism_name, needs, work
from secretsd.signing.model import (
    SALT_AUTO,
    SALT_HASH,
    Hash,
    KeyType,
    KeyVersion,
    Marshaling,
    Operation,
    Padding,
    Request,
    TokenCall,
    TokenMechanism,
)

CURVES = tuple(ORDERS)
EC_CURVES = {
    KeyType.P256: ec.SECP256R1(),
    KeyType.P384: ec.SECP384R1(),
    KeyType.SECP256K1: ec.SECP256K1(),
}
RSA_BYTES = {KeyType.RSA_2048: 256, KeyType.RSA_3072: 384, KeyType.RSA_4096: 512}
DIGEST_BYTES = {Hash.SHA2_256: 32, Hash.SHA2_384: 48, Hash.SHA2_512: 64}
NEVER = {Operation.WRAP, Operation.UNWRAP}  # these are the administration's


class Recorder:
    """A lane that notes what it is asked, and answers `answer`."""

    def __init__(self, answer: bytes = b"") -> None:
        self.answer = answer
        self.calls: list[TokenCall] = []
        self.deadlines: list[int] = []

    def sign(self, call: TokenCall, deadline_ns: int = 0) -> bytes:
        self.calls.append(call)
        self.deadlines.append(deadline_ns)
        return self.answer

    def verify_mac(self, call: TokenCall, mac: bytes, deadline_ns: int = 0) -> bool:
        self.calls.append(call)
        return mac == self.answer

    def encrypt(self, key: KeyVersion, plaintext: bytes, data: bytes, deadline_ns: int = 0) -> bytes:
        return plaintext

    def decrypt(self, key: KeyVersion, blob: bytes, data: bytes, deadline_ns: int = 0) -> bytes:
        return blob


def _public(type_: KeyType) -> bytes | None:
    if not type_.has_public_key:
        return None
    private = (
        rsa.generate_private_key(65537, 2048)  # its size does not matter here
        if type_.is_rsa
        else ed25519.Ed25519PrivateKey.generate()
        if type_ is KeyType.ED25519
        else ec.generate_private_key(EC_CURVES[type_])
    )
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


KEYS = {type_: KeyVersion("key", 1, type_, _public(type_), is_retired=False) for type_ in KeyType}


def _code(request: Request, key: KeyVersion) -> str | None:
    try:
        work(request, key)
    except SigningError as error:
        return error.code
    return None


@pytest.mark.parametrize("hash_", Hash)
@pytest.mark.parametrize("type_", [*CURVES, *RSA_BYTES])
@pytest.mark.parametrize("operation", [Operation.SIGN, Operation.VERIFY])
def test_a_digest_has_the_length_of_its_hash(operation: Operation, type_: KeyType, hash_: Hash) -> None:
    """Tokens sign 0 or 100 bytes without complaint."""
    for length in range(101):
        request = Request(operation, "key", bytes(length), prehashed=True, hash=hash_)
        expected = None if length == DIGEST_BYTES[hash_] else "bad-digest-length"
        assert _code(request, KEYS[type_]) == expected, length


@pytest.mark.parametrize("hash_", Hash)
@pytest.mark.parametrize("type_", CURVES)
def test_ecdsa_gets_the_digest_and_no_more_of_it_than_the_order_has(type_: KeyType, hash_: Hash) -> None:
    lane = Recorder(b"\1" * 2 * order_bytes(type_))
    digest = hashlib.new(hash_.value.replace("sha2-", "sha"), b"message").digest()
    assert len(digest) == DIGEST_BYTES[hash_]
    for request in (
        Request(Operation.SIGN, "key", b"message", hash=hash_, deadline_ns=7),
        Request(Operation.SIGN, "key", digest, hash=hash_, prehashed=True, deadline_ns=7),
    ):
        work(request, KEYS[type_])(lane)
        assert lane.calls[-1] == TokenCall(KEYS[type_], TokenMechanism.ECDSA, digest[: order_bytes(type_)])
    assert lane.deadlines == [7, 7]


@pytest.mark.parametrize("type_", CURVES)
def test_a_high_s_of_the_token_does_not_get_out(type_: KeyType) -> None:
    size, order = order_bytes(type_), ORDERS[type_]
    lane = Recorder(b"\1" * size + (order - 1).to_bytes(size, "big"))
    request = Request(Operation.SIGN, "key", b"message", marshaling=Marshaling.JWS)
    assert work(request, KEYS[type_])(lane) == b"\1" * size + (1).to_bytes(size, "big")


@pytest.mark.parametrize("operation", [Operation.SIGN, Operation.VERIFY])
def test_only_ethereum_s_curve_and_digests_of_32_bytes_have_its_layout(operation: Operation) -> None:
    for type_, hash_ in product(CURVES, Hash):
        request = Request(operation, "key", b"message", hash=hash_, marshaling=Marshaling.ETH)
        is_possible = (type_, hash_) == (KeyType.SECP256K1, Hash.SHA2_256)
        assert _code(request, KEYS[type_]) == (None if is_possible else "unsupported")


@pytest.mark.parametrize(("type_", "hash_"), list(product(RSA_BYTES, Hash)))
def test_salts_are_as_long_as_they_can_be_and_no_longer(type_: KeyType, hash_: Hash) -> None:
    digest_bytes = DIGEST_BYTES[hash_]
    most = RSA_BYTES[type_] - digest_bytes - 2
    wanted = {SALT_AUTO: most, SALT_HASH: digest_bytes, 0: 0, 1: 1, most: most}
    for salt_bytes, given in wanted.items():
        lane = Recorder()
        request = Request(Operation.SIGN, "key", b"message", hash=hash_, salt_bytes=salt_bytes)
        work(request, KEYS[type_])(lane)
        assert lane.calls[0].salt_bytes == given
        assert lane.calls[0].mechanism is TokenMechanism.RSA_PSS
        assert lane.calls[0].hash is hash_
    for salt_bytes in (most + 1, 100_000, min(SALT_AUTO, SALT_HASH) - 1):
        for operation in (Operation.SIGN, Operation.VERIFY):
            request = Request(operation, "key", b"message", hash=hash_, salt_bytes=salt_bytes)
            assert _code(request, KEYS[type_]) == "bad-parameter"


@pytest.mark.parametrize("hash_", Hash)
def test_pkcs1_puts_the_hash_s_name_in_front_of_the_digest(hash_: Hash) -> None:
    """Without it the token would sign a digest that could be taken for another hash's."""
    lane = Recorder()
    request = Request(Operation.SIGN, "key", b"message", hash=hash_, padding=Padding.PKCS1V15)
    work(request, KEYS[KeyType.RSA_2048])(lane)
    data = lane.calls[0].data
    digest = hashlib.new(hash_.value.replace("sha2-", "sha"), b"message").digest()
    # RFC 8017, 9.2: SEQUENCE { SEQUENCE { OID, NULL }, OCTET STRING }.
    assert data.endswith(bytes((4, len(digest))) + digest)
    assert data[1] == len(data) - 2
    assert len(data) == 19 + len(digest)
    assert lane.calls[0].mechanism is TokenMechanism.RSA_PKCS1


@pytest.mark.parametrize("type_", [KeyType.ED25519, KeyType.HMAC])
def test_keys_that_take_the_message_take_no_digest(type_: KeyType) -> None:
    for operation in (Operation.SIGN, Operation.HMAC, Operation.VERIFY):
        request = Request(operation, "key", bytes(32), prehashed=True, check=bytes(64))
        assert _code(request, KEYS[type_]) == "unsupported"


@pytest.mark.parametrize("type_", KeyType)
def test_what_a_type_cannot_do_is_said_and_what_it_can_is_named_for_the_trail(type_: KeyType) -> None:
    possible = set()
    for operation in Operation:
        request = Request(operation, "key", bytes(40), check=bytes(64))
        code = _code(request, KEYS[type_])
        assert code in (None, "unsupported")
        if code is None:
            possible.add(operation)
            assert mechanism_name(request, KEYS[type_])
    assert not possible & NEVER
    assert (Operation.PUBLIC_KEY in possible) == type_.has_public_key
    assert bool(possible) == (type_ is not KeyType.AES_WRAP)


def test_an_hmac_is_not_verified_as_a_signature() -> None:
    request = Request(Operation.VERIFY, "key", b"message", check=bytes(32), check_is_hmac=True)
    assert {_code(request, KEYS[type_]) for type_ in (*CURVES, *RSA_BYTES, KeyType.ED25519)} == {
        "unsupported"
    }
    assert _code(request, KEYS[KeyType.HMAC]) is None


def test_an_hmac_of_another_length_is_wrong_without_asking_the_token() -> None:
    key, lane = KEYS[KeyType.HMAC], Recorder(bytes(32))
    for length in range(100):
        request = Request(Operation.VERIFY, "key", b"message", check=bytes(length))
        assert work(request, key)(lane) == (b"\1" if length == 32 else b"\0")
    assert len(lane.calls) == 1


def test_a_retired_version_makes_nothing_new_and_is_still_checked_and_read() -> None:
    makes = {Operation.SIGN, Operation.HMAC, Operation.ENCRYPT}
    tried = set()
    for type_, operation in product(KeyType, set(Operation) - NEVER):
        request = Request(operation, "key", bytes(40), check=bytes(64))
        if _code(request, KEYS[type_]) is None:
            tried.add(operation)
            code = _code(request, replace(KEYS[type_], is_retired=True))
            assert code == ("version-retired" if operation in makes else None)
    assert tried == set(Operation) - NEVER


def test_a_ciphertext_that_cannot_hold_iv_and_tag_does_not_reach_the_token() -> None:
    for length in range(40):
        request = Request(Operation.DECRYPT, "key", bytes(length))
        expected = None if length >= 28 else "bad-ciphertext"
        assert _code(request, KEYS[KeyType.AES_GCM]) == expected


def test_a_digest_of_the_client_needs_the_word_for_it() -> None:
    """Who may have any digest signed may have anything signed."""
    for type_ in (*CURVES, *RSA_BYTES):
        request = Request(Operation.SIGN, "key", bytes(32), hash=Hash.SHA2_256)
        assert "prehashed" not in needs(request, type_)
        assert "prehashed" in needs(replace(request, prehashed=True), type_)
        assert "sha2-256" in needs(request, type_)


def test_verify_survives_any_signature() -> None:
    for type_, marshaling in product((*CURVES, KeyType.ED25519, KeyType.RSA_2048), Marshaling):
        for check in (
            b"",
            b"\0",
            b"\xff" * 64,
            b"\xff" * 65,
            bytes(65),
            b"\x30" * 72,
            b"\1" * 256,
            bytes(10_000),
        ):
            request = Request(Operation.VERIFY, "key", b"message", check=check, marshaling=marshaling)
            if _code(request, KEYS[type_]) is None:
                assert work(request, KEYS[type_])(Recorder()) == b"\0"
