"""The native frames: whatever the bytes are, a request or a refusal; and the documented vectors."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretsd.signing.errors import KINDS, RETRYABLE, SigningError
from secretsd.signing.frame import (
    ANSWER_BYTES,
    HEAD_BYTES,
    MalformedFrame,
    decode_request,
    encode_answer,
)
from secretsd.signing.model import Answer, Hash, Marshaling, Operation, Padding, Request
from tests.signing.native_vectors import Vector, errors, vectors

SIGN = vectors()[0].request
_COST_US = 6.0
HEADS = st.builds(
    lambda version, operation, rest: bytes([version, operation]) + rest,
    st.sampled_from([0, 1, 1, 1, 2]), st.integers(0, 7), st.binary(max_size=90),
)  # fmt: skip


def decoded(frame: bytes) -> Request | None:
    """None where it is refused; anything else raised is the failure."""
    try:
        number, request = decode_request(frame)
    except MalformedFrame as refusal:
        number, request = refusal.request_id, None
    assert 0 <= number < 1 << 64
    return request


@given(st.binary(max_size=300) | HEADS)
def test_any_bytes_are_a_request_or_a_refusal(frame: bytes) -> None:
    decoded(frame)


@given(st.integers(0, len(SIGN) - 1), st.integers(0, 255), st.binary(max_size=3))
def test_a_frame_with_one_byte_changed_never_reads_beyond_its_end(place: int, byte: int, more: bytes) -> None:
    frame = SIGN[:place] + bytes([byte]) + SIGN[place + 1 :] + more
    request = decoded(frame)
    if request is not None:
        parts = (request.key.encode(), request.associated_data, request.check, request.payload)
        assert b"".join(parts) == frame[HEAD_BYTES:]


def test_the_search_finds_requests_as_well_as_refusals() -> None:
    assert decoded(SIGN) is not None
    assert decoded(SIGN[:-1]) is not None  # a shorter message
    for cut in range(HEAD_BYTES + len("hot-wallet")):
        assert decoded(SIGN[:cut]) is None


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, 2),  # version
        (1, 0), (1, 7), (1, 255),  # operation: wrap and unwrap have none
        (2, 4), (2, 0x80),  # flags
        (3, 4),  # hash
        (4, 3), (4, 0x82), (4, 0xFF),  # scheme
        (5, 0), (5, 255),  # length of the name
        (12, 0xFF), (16, 0xFF), (15, 200), (19, 200),  # lengths beyond the end
        (HEAD_BYTES, 0xC3),  # a name that is not ASCII
    ],
)  # fmt: skip
def test_a_field_that_means_nothing_is_refused_with_the_request_id(place: int, value: int) -> None:
    with pytest.raises(MalformedFrame) as refusal:
        decode_request(SIGN[:place] + bytes([value]) + SIGN[place + 1 :])
    assert refusal.value.request_id == 1


def test_a_refusal_never_quotes_the_frame() -> None:
    marker = b"marker-5f1c-never-in-a-message"
    with pytest.raises(MalformedFrame) as refusal:
        decode_request(SIGN[:HEAD_BYTES] + b"\xff" + marker)
    assert "marker" not in f"{refusal.value} {refusal.value!r}"
    assert marker.decode() not in repr(decode_request(SIGN + marker))


# The vectors ----------------------------------------------------------------------------------------------

EXPECTED: dict[str, tuple[int, Request]] = {
    "sign, a message, everything by default": (1, Request(Operation.SIGN, "hot-wallet", b"buy 1 BTC")),
    "sign, a SHA-256 digest, r || s || v, version 2, a deadline": (
        2,
        Request(
            Operation.SIGN, "hot-wallet", bytes(range(32)), 2, Hash.SHA2_256, True, Marshaling.ETH,
            deadline_ns=123_456_789_000_000,
        ),
    ),
    "sign, RSA PKCS#1 v1.5 with SHA-512": (
        3,
        Request(Operation.SIGN, "release", b"1.0", hash=Hash.SHA2_512, padding=Padding.PKCS1V15),
    ),
    "sign, RSA PSS with a salt as long as the digest": (
        4,
        Request(Operation.SIGN, "release", b"1.0", salt_bytes=-2),
    ),
    "verify, a signature that is good": (
        5,
        Request(Operation.VERIFY, "hot-wallet", b"buy 1 BTC", 3, check=bytes.fromhex("300602010102012a")),
    ),
    "verify, an HMAC that is not good": (
        6,
        Request(Operation.VERIFY, "orders", b"hello", check=b"\x09" * 32, check_is_hmac=True),
    ),
    "hmac": (7, Request(Operation.HMAC, "orders", b"hello")),
    "public-key": (8, Request(Operation.PUBLIC_KEY, "orders-ed25519", b"")),
    "encrypt, with associated data": (
        9,
        Request(Operation.ENCRYPT, "vault", b"hello", associated_data=b"row 7"),
    ),
    "decrypt": (
        10,
        Request(
            Operation.DECRYPT, "vault", b"\x0c" * 12 + b"\x0d" * 5 + b"\x0e" * 16, 4, associated_data=b"row 7"
        ),
    ),
    "a refusal": (11, Request(Operation.SIGN, "cold-wallet", b"x")),
    "a refusal that may be over in a second": (2**64 - 1, Request(Operation.HMAC, "orders", b"hello")),
}  # fmt: skip
REFUSALS = {
    "a refusal": SigningError(
        "no-right",
        "cold-wallet: you may not use this key",
        advice="add your unit, user or group to allow of [signer.keys.cold-wallet]",
    ),
    "a refusal that may be over in a second": SigningError(
        "rate-limited", "the key is used more often than its rate_limit", advice="ask more slowly"
    ),
}


@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector.told)
def test_a_documented_request_is_read_as_it_says(vector: Vector) -> None:
    assert decode_request(vector.request) == EXPECTED[vector.told]


@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector.told)
def test_a_documented_answer_is_what_is_sent(vector: Vector) -> None:
    number = EXPECTED[vector.told][0]
    version = int.from_bytes(vector.answer[4:8], "big")
    answer = REFUSALS.get(vector.told) or Answer(vector.answer[ANSWER_BYTES:], version)
    assert encode_answer(number, answer) == vector.answer


def test_every_vector_and_every_operation_is_covered() -> None:
    assert {vector.told for vector in vectors()} == set(EXPECTED)
    operations = {request.operation for _, request in EXPECTED.values()}
    assert operations == set(Operation) - {Operation.WRAP, Operation.UNWRAP}


def test_the_documented_errors_are_those_that_there_are() -> None:
    assert errors() == [(kind.number, word, word in RETRYABLE) for word, kind in KINDS.items()]
    assert len({kind.number for kind in KINDS.values()}) == len(KINDS)
    for word, kind in KINDS.items():
        answer = encode_answer(9, SigningError(word, "why", advice="the fix"))
        assert answer[1] == kind.number != 0
        assert answer[ANSWER_BYTES:] == f"{word}\0why: the fix".encode()


def test_decoding_costs_no_more_than_its_share_of_the_budget() -> None:
    def once() -> float:
        began = time.perf_counter()
        for _ in range(2000):
            decode_request(SIGN)
        return (time.perf_counter() - began) / 2000 * 1e6

    # The best of several: what it costs, and not what else this machine does.
    assert min(once() for _ in range(15)) < _COST_US
