"""Each bad request has an error of its own, a status that Transit gives, and a sentence with the fix."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from secretsd.signing.errors import KINDS, SigningError
from secretsd.signing.model import Answer, Request
from tests.canary.records import everything_logged
from tests.canary.scan import shows
from tests.canary.spellings import MARKER
from tests.signing.http.fake_desk import FakeDesk
from tests.signing.http.serving import Served
from tests.signing.http.test_connection import answers, post

GOOD = {"input": "aGVsbG8="}
SIGN, HMAC, VERIFY = "/v1/transit/sign/ecdsa-p256", "/v1/transit/hmac/hmac", "/v1/transit/verify/hmac"
ENCRYPT, DECRYPT = "/v1/transit/encrypt/aes256-gcm96", "/v1/transit/decrypt/aes256-gcm96"
DEEP = b'{"input":' + b"[" * 60000
BAD: list[tuple[str, object, int, str]] = [
    (HMAC, b"{", 400, "malformed-request"),
    (HMAC, b"[]", 400, "malformed-request"),
    (HMAC, b'"text"', 400, "malformed-request"),
    (HMAC, b"\xff\xfe", 400, "malformed-request"),
    (HMAC, DEEP, 400, "malformed-request"),
    (HMAC, b'{"input":"aGk=","input":"aGk="}', 400, "malformed-request"),
    (HMAC, b'{"input":NaN}', 400, "malformed-request"),
    (HMAC, b'{"input":-Infinity}', 400, "malformed-request"),
    (HMAC, b'{"key_version":%s}' % (b"9" * 60000), 400, "malformed-request"),
    (HMAC, b'{"key_version":1e999,"input":""}', 400, "bad-parameter"),
    (HMAC, {"input": "a"}, 400, "bad-base64"),
    (HMAC, {"input": "\u00e4\u00f6"}, 400, "bad-base64"),
    (HMAC, {"input": "\ud800"}, 400, "bad-base64"),
    (HMAC, {"input": {}}, 400, "bad-parameter"),
    (HMAC, {}, 400, "bad-parameter"),
    (HMAC, b"", 400, "bad-parameter"),
    (HMAC, {**GOOD, "key_version": 2}, 400, "unknown-version"),
    (HMAC, {**GOOD, "key_version": -1}, 400, "bad-parameter"),
    (HMAC, {**GOOD, "key_version": 2**40}, 400, "bad-parameter"),
    (HMAC, {**GOOD, "hash_algorithm": "md5"}, 400, "bad-parameter"),
    (HMAC, {"batch_input": [GOOD] * 257}, 400, "bad-parameter"),
    (HMAC, {"batch_input": []}, 400, "bad-parameter"),
    (HMAC, {"batch_input": {"0": GOOD}}, 400, "malformed-request"),
    (HMAC, {"batch_input": [GOOD, 1]}, 400, "malformed-request"),
    (SIGN, {**GOOD, "prehashed": True}, 400, "bad-digest-length"),
    (SIGN, {**GOOD, "context": "aGk="}, 400, "unsupported"),
    (SIGN, {"batch_input": [GOOD, {**GOOD, "context": "aGk="}]}, 400, "unsupported"),
    (ENCRYPT, {"batch_input": [{"plaintext": "aGk=", "nonce": "aGk="}]}, 400, "unsupported"),
    (SIGN, {**GOOD, "marshaling_algorithm": "cbor"}, 400, "bad-parameter"),
    (SIGN, {**GOOD, "salt_length": "1e3"}, 400, "bad-parameter"),
    (SIGN, {**GOOD, "salt_length": "99999"}, 400, "bad-parameter"),
    ("/v1/transit/sign/no-such-key", GOOD, 400, "unknown-key"),
    ("/v1/transit/sign/hmac", GOOD, 400, "unsupported"),
    (VERIFY, GOOD, 400, "bad-parameter"),
    (VERIFY, {**GOOD, "hmac": "vault:v0:aGk="}, 400, "bad-parameter"),
    (VERIFY, {**GOOD, "hmac": "vault:v1:!"}, 400, "bad-base64"),
    (DECRYPT, {"ciphertext": "vault:v1"}, 400, "bad-ciphertext"),
    (DECRYPT, {"ciphertext": "vault:v1:aGk="}, 400, "bad-ciphertext"),
    (ENCRYPT, {"plaintext": "aGk=", "nonce": "aGk="}, 400, "unsupported"),
    (
        ENCRYPT,
        {"plaintext": "aGk=", "partial_failure_response_code": 99, "batch_input": [{}]},
        400,
        "bad-parameter",
    ),
    ("/v1/transit/random/32", {}, 404, "unsupported-path"),
    ("/v1/transit/rewrap/hmac", {}, 404, "unsupported-path"),
    ("/v1/transit/encrypt/aes256-gcm96/sha2-256", {}, 404, "unsupported-path"),
    ("/v1/transit/sign/a/b/c", GOOD, 404, "unsupported-path"),
    ("/v1/transit/keys/hmac", {}, 405, "unsupported-path"),
    ("/v1/transit/keys/hmac/rotate", {}, 404, "unsupported-path"),
    ("/v1/sys/health", {}, 405, "unsupported-path"),
    ("/", {}, 404, "unsupported-path"),
    ("//v1//transit/", {}, 404, "unsupported-path"),
    ("/v1/transit/../transit/hmac/hmac", GOOD, 404, "unsupported-path"),
]


@pytest.mark.parametrize(("path", "body", "status", "code"), BAD)
def test_bad_input_has_an_error_of_its_own(
    signer: Served, desk: FakeDesk, path: str, body: object, status: int, code: str
) -> None:
    found, content, headers = signer.ask("POST", path, body)
    assert (found, headers["X-Secretsd-Error"]) == (status, code)
    (sentence,) = content["errors"]
    assert ": " in sentence  # what is wrong, and what to do
    # What the desk has not seen it is told of, for the audit trail.
    assert desk.refused == ([] if desk.asked else [code])
    assert signer.ask("POST", HMAC, GOOD)[0] == 200


@pytest.mark.parametrize("code", sorted(KINDS))
def test_what_the_desk_answers_keeps_its_status_and_its_word(
    signer: Served, desk: FakeDesk, code: str
) -> None:
    desk.fails["hmac"] = SigningError(code, "it is so", advice="do this")
    for body in (GOOD, {"batch_input": [GOOD]}):
        status, content, headers = signer.ask("POST", HMAC, body)
        if status != 200:  # an error of one item, where Transit's status is 200
            assert (status, headers["X-Secretsd-Error"]) == (KINDS[code].http_status, code)
            assert content == {"errors": ["it is so: do this"]}


def test_a_rate_limit_says_when_to_come_back(signer: Served, desk: FakeDesk) -> None:
    desk.fails["hmac"] = SigningError("rate-limited", "too often", advice="ask more slowly")
    status, _, headers = signer.ask("POST", HMAC, GOOD)
    assert (status, headers["Retry-After"]) == (429, "1")


def test_the_deadline_of_the_header_reaches_the_desk(signer: Served, desk: FakeDesk) -> None:
    before = time.monotonic_ns()
    assert signer.ask("POST", HMAC, GOOD, {"X-Secretsd-Timeout-Ms": "1500"})[0] == 200
    assert 1_500_000_000 <= desk.asked[-1].deadline_ns - before < 2_500_000_000
    for bad in ("-1", "soon", "9" * 30, "1.5"):
        status, _, headers = signer.ask("POST", HMAC, GOOD, {"X-Secretsd-Timeout-Ms": bad})
        assert (status, headers["X-Secretsd-Error"]) == (400, "bad-parameter")


def test_a_bug_ends_one_request_and_is_not_told_to_the_client(
    signer: Served, desk: FakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise KeyError(MARKER)

    monkeypatch.setattr(desk, "submit", broken)
    with everything_logged() as written:
        status, content, headers = signer.ask("POST", HMAC, GOOD)
    assert (status, headers["X-Secretsd-Error"]) == (500, "bug")
    assert "http request failed" in written.getvalue()
    assert not shows(json.dumps(content))
    assert not shows(written.getvalue())
    monkeypatch.undo()
    assert signer.ask("POST", HMAC, GOOD)[0] == 200


def test_a_bugs_late_answer_does_not_answer_the_next_request(
    signer: Served, desk: FakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[Any] = []

    def broken(_caller: object, request: Request, answer: Any) -> None:
        late.append(answer)
        if len(late) == 1:
            raise KeyError("after it was taken")
        late[0](Answer(b"of the first", 1))
        answer(Answer(b"of the second", 1))

    monkeypatch.setattr(desk, "submit", broken)
    with signer.connect() as client:
        client.sendall(post() * 2)
        first, second = answers(client, 2)
    assert first[0] == 500
    assert base64.b64encode(b"of the second") in second[1]


def test_no_answer_and_no_log_shows_what_was_sent(signer: Served) -> None:
    assert shows(f"x{MARKER}")
    bodies: list[object] = [
        f'{{"{MARKER}":'.encode(),
        {"input": MARKER},
        {MARKER: 1, **GOOD},
        {**GOOD, "marshaling_algorithm": MARKER, "hash_algorithm": MARKER},
        {"batch_input": [{"input": MARKER}]},
        {"input": "aGk=", "hmac": MARKER},
        {"ciphertext": f"vault:v1:{MARKER}"},
    ]
    with everything_logged() as written:
        for path in (SIGN, HMAC, VERIFY, ENCRYPT, DECRYPT, f"/v1/transit/sign/{MARKER}", f"/{MARKER}"):
            for body in bodies:
                _, content, headers = signer.ask("POST", path, body, {"X-Vault-Token": MARKER})
                assert not shows(json.dumps(content) + str(headers))
    assert not shows(written.getvalue())
