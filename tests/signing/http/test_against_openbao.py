"""The same requests to a real OpenBao and to the signer: the same status, and answers of the same shape."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from tests.signing.http.openbao import OpenBao
from tests.signing.http.serving import Client

MESSAGE = base64.b64encode(b"buy 1 BTC").decode()
DIGEST = base64.b64encode(bytes(range(32))).decode()
BAD = "!!"
Ask = Callable[..., tuple[int, dict[str, Any], dict[str, str]]]


def shape(value: Any) -> Any:
    """Keys and types, recursively; of a list the set of its items' shapes."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted({repr(shape(item)) for item in value})
    return type(value).__name__


def compare(openbao: Ask, signer: Ask, method: str, path: str, body: object = None) -> None:
    their_status, theirs, _ = openbao(method, path, body)
    our_status, ours, _ = signer(method, path, body)
    assert our_status == their_status, (path, ours, theirs)
    # Transit's read of what is not there has no sentence; ours has.
    if theirs != {"errors": []}:
        assert shape(ours) == shape(theirs), (ours, theirs)


def test_shape_sees_a_member_that_is_missing_or_of_another_type() -> None:
    assert shape({"a": [{"b": 1}]}) != shape({"a": [{"b": 1, "c": 2}]})
    assert shape({"a": 1}) != shape({"a": "1"})
    assert shape({"a": [1]}) == shape({"a": [2, 3]})


READS = [
    ("LIST", "/v1/transit/keys"),
    ("LIST", "/v1/transit/keys/"),
    ("GET", "/v1/transit/keys?list=true"),
    *(("GET", f"/v1/transit/keys/{name}") for name in ("ecdsa-p256", "ecdsa-p384", "rsa-2048")),
    ("GET", "/v1/transit/keys/no-such-key"),
    ("GET", "/v1/sys/health"),
    ("GET", "/v1/sys/seal-status"),
    ("GET", "/v1/sys/leader"),
    ("GET", "/v1/transit/no-such-path"),
    ("GET", "/v1/no-such-mount/path"),
    ("GET", "/v1/transit/sign/ecdsa-p256"),
    ("DELETE", "/v1/transit/sign/ecdsa-p256"),
    ("GET", "/v1/transit/keys"),
]


@pytest.mark.parametrize(("method", "path"), READS)
def test_what_is_read(openbao: OpenBao, real_signer: Client, method: str, path: str) -> None:
    compare(openbao.ask, real_signer.ask, method, path)


@pytest.mark.parametrize("name", ["ed25519", "aes256-gcm96"])
def test_what_is_read_of_keys_that_transit_could_derive_from(
    openbao: OpenBao, real_signer: Client, name: str
) -> None:
    compare(openbao.ask, real_signer.ask, "GET", f"/v1/transit/keys/{name}")


# What docs/transit.md lists as different, each with their status and ours.
DIFFERENCES = [
    # Nobody means to sign nothing: more likely a name is misspelt.
    ("sign/ecdsa-p256", {}, 200, 400),
    ("sign/ecdsa-p256", {"inptu": MESSAGE}, 200, 400),
    ("sign/ecdsa-p256", {"input": None}, 200, 400),
    # A digest of another length than the hash's is a mistake, or an attack.
    ("sign/ecdsa-p256", {"input": MESSAGE, "prehashed": True}, 200, 400),
    # The last of two would win, and a proxy may have looked at the first.
    ("sign/ecdsa-p256", b'{"input": "aGk=", "input": "aGVsbG8="}', 200, 400),
    ("sign/ecdsa-p256", {"input": MESSAGE, "context": MESSAGE}, 200, 400),
    ("encrypt/aes256-gcm96", {"plaintext": MESSAGE, "nonce": MESSAGE}, 200, 400),
    # What the configuration does not allow is refused before it is asked whether the type could do it.
    ("sign/hmac", {"input": MESSAGE}, 400, 403),
    ("sign/aes256-gcm96", {"input": MESSAGE}, 400, 403),
    ("encrypt/hmac", {"plaintext": MESSAGE}, 400, 403),
    # A key of the token has one use; OpenBao makes an HMAC with any.
    ("verify/ecdsa-p256", {"input": MESSAGE, "hmac": "vault:v1:aGk="}, 200, 400),
    # The client's mistakes that OpenBao calls its own.
    ("sign/ecdsa-p256", {"input": MESSAGE, "key_version": 7}, 500, 400),
    ("sign/ecdsa-p256", {"input": MESSAGE, "key_version": -1}, 500, 400),
    ("sign/rsa-2048", {"input": MESSAGE, "signature_algorithm": "dsa"}, 500, 400),
    ("sign/ecdsa-p256", {"batch_input": "one"}, 500, 400),
    ("sign/ecdsa-p256", {"batch_input": [1]}, 500, 400),
    ("encrypt/aes256-gcm96", {"batch_input": [{}]}, 500, 400),
    ("encrypt/aes256-gcm96", {"plaintext": MESSAGE, "associated_data": BAD}, 500, 400),
]


@pytest.mark.parametrize(("path", "body", "theirs", "ours"), DIFFERENCES, ids=str)
def test_the_differences_that_are_documented_are_still_there(
    openbao: OpenBao, real_signer: Client, path: str, body: object, theirs: int, ours: int
) -> None:
    assert openbao.ask("POST", f"/v1/transit/{path}", body)[0] == theirs
    status, content, headers = real_signer.ask("POST", f"/v1/transit/{path}", body)
    assert status == ours
    assert "X-Secretsd-Error" in headers or "error" in content["data"]["batch_results"][0]


def test_the_size_of_an_hmac_key_is_all_that_its_description_lacks(
    openbao: OpenBao, real_signer: Client
) -> None:
    # The token holds it padded to the hash's block, and does not tell what it was.
    theirs, ours = (ask("GET", "/v1/transit/keys/hmac")[1] for ask in (openbao.ask, real_signer.ask))
    del theirs["data"]["key_size"]
    assert shape(ours) == shape(theirs)


USES = [
    ("sign/ecdsa-p256", {"input": MESSAGE}),
    ("sign/ecdsa-p384/sha2-384", {"input": MESSAGE}),
    ("sign/ed25519", {"input": MESSAGE}),
    ("sign/ed25519", {"input": MESSAGE, "marshaling_algorithm": "jws"}),
    ("sign/rsa-2048", {"input": MESSAGE}),
    ("sign/rsa-2048", {"input": MESSAGE, "signature_algorithm": "pkcs1v15"}),
    ("sign/rsa-2048", {"input": MESSAGE, "signature_algorithm": "pss", "salt_length": "hash"}),
    ("sign/rsa-2048", {"input": MESSAGE, "salt_length": 20}),
    ("sign/rsa-2048", {"input": MESSAGE, "salt_length": "20"}),
    ("sign/rsa-2048", {"input": MESSAGE, "salt_length": 0}),
    ("sign/rsa-2048", {"input": MESSAGE, "salt_length": -1}),
    ("sign/rsa-2048", {"input": MESSAGE, "salt_length": -5}),
    ("sign/rsa-2048", {"input": MESSAGE, "salt_length": "long"}),
    ("sign/ecdsa-p256", {"input": MESSAGE, "marshaling_algorithm": "jws"}),
    ("sign/ecdsa-p256", {"input": MESSAGE, "marshaling_algorithm": "asn1"}),
    ("sign/ecdsa-p256", {"input": MESSAGE, "marshaling_algorithm": "xml"}),
    ("sign/ecdsa-p256/sha2-512", {"input": MESSAGE}),
    ("sign/ecdsa-p256", {"input": MESSAGE, "hash_algorithm": "sha2-512"}),
    ("sign/ecdsa-p256", {"input": MESSAGE, "algorithm": "sha2-512"}),
    ("sign/ecdsa-p256/sha2-512", {"input": MESSAGE, "hash_algorithm": "sha2-256"}),
    ("sign/ecdsa-p256/sha2-999", {"input": MESSAGE}),
    ("sign/ecdsa-p256", {"input": DIGEST, "prehashed": True}),
    ("sign/ecdsa-p256", {"input": DIGEST, "prehashed": "true"}),
    ("sign/ecdsa-p256", {"input": DIGEST, "prehashed": "T"}),
    ("sign/ecdsa-p256", {"input": DIGEST, "prehashed": 1}),
    ("sign/ecdsa-p256", {"input": MESSAGE, "prehashed": ""}),
    ("sign/ecdsa-p256", {"input": MESSAGE, "prehashed": 2}),
    ("sign/ecdsa-p256", {"input": MESSAGE, "prehashed": "perhaps"}),
    ("sign/ecdsa-p256", {"input": MESSAGE, "key_version": 1}),
    ("sign/ecdsa-p256", {"input": MESSAGE, "key_version": "1"}),
    ("sign/ecdsa-p256", {"input": MESSAGE, "key_version": "0x1"}),
    ("sign/ecdsa-p256", {"input": MESSAGE, "key_version": ""}),
    ("sign/ecdsa-p256", {"input": MESSAGE, "key_version": True}),
    ("sign/ecdsa-p256", {"input": MESSAGE, "key_version": 1.5}),
    ("sign/ecdsa-p256", {"input": MESSAGE, "key_version": "one"}),
    ("sign/ecdsa-p256", {"input": MESSAGE, "key_version": 10**23}),
    ("sign/ecdsa-p256", {"input": BAD}),
    ("sign/ecdsa-p256", {"input": "aGVsbG8"}),
    ("sign/ecdsa-p256", {"input": "aGVs\nbG8="}),
    ("sign/ecdsa-p256", {"input": ""}),
    ("sign/ecdsa-p256", {"input": 1234}),
    ("sign/ecdsa-p256", {"input": 123}),
    ("sign/ecdsa-p256", {"input": True}),
    ("sign/ecdsa-p256", {"input": [MESSAGE]}),
    ("sign/ecdsa-p256", {"input": MESSAGE, "nobody": "knows"}),
    ("sign/ecdsa-p256", b'{"input":'),
    ("sign/ecdsa-p256", b"[1]"),
    ("sign/ecdsa-p256", b'{"input": NaN}'),
    ("sign/ecdsa-p256", b'{"input": "aGVsbG8="} more'),
    ("sign/no-such-key", {"input": MESSAGE}),
    ("sign/ecdsa-p256", {"batch_input": [{"input": MESSAGE, "reference": "a"}, {"input": MESSAGE}]}),
    ("sign/ecdsa-p256", {"batch_input": [{"input": MESSAGE}, {"input": BAD, "reference": "b"}]}),
    ("sign/ecdsa-p256", {"batch_input": [{"input": BAD}]}),
    ("sign/ecdsa-p256", {"batch_input": [{}]}),
    ("sign/ecdsa-p256", {"batch_input": []}),
    ("sign/ecdsa-p256", {"batch_input": None, "input": MESSAGE}),
    ("sign/no-such-key", {"batch_input": [{"input": MESSAGE}]}),
    ("hmac/hmac", {"input": MESSAGE}),
    ("hmac/hmac/sha2-512", {"input": MESSAGE}),
    ("hmac/hmac", {"input": MESSAGE, "algorithm": "sha2-384"}),
    ("hmac/hmac/sha2-999", {"input": MESSAGE}),
    ("hmac/hmac", {"input": MESSAGE, "key_version": 3}),
    ("hmac/hmac", {}),
    ("hmac/no-such-key", {"input": MESSAGE}),
    ("hmac/hmac", {"batch_input": [{"input": MESSAGE, "reference": "a"}, {"input": BAD}, {}]}),
    ("hmac/hmac", {"batch_input": [{"input": BAD}]}),
    ("hmac/hmac", {"batch_input": []}),
    ("encrypt/aes256-gcm96", {"plaintext": MESSAGE}),
    ("encrypt/aes256-gcm96", {"plaintext": ""}),
    ("encrypt/aes256-gcm96", {"plaintext": MESSAGE, "associated_data": MESSAGE}),
    ("encrypt/aes256-gcm96", {"plaintext": MESSAGE, "key_version": 1}),
    ("encrypt/aes256-gcm96", {"plaintext": MESSAGE, "key_version": 4}),
    ("encrypt/aes256-gcm96", {"plaintext": BAD}),
    ("encrypt/aes256-gcm96", {}),
    ("encrypt/aes256-gcm96", {"batch_input": [{"plaintext": MESSAGE, "reference": "a"}]}),
    ("encrypt/aes256-gcm96", {"batch_input": [{"plaintext": MESSAGE}, {"plaintext": BAD}]}),
    ("encrypt/aes256-gcm96", {"batch_input": [{"plaintext": BAD}]}),
    (
        "encrypt/aes256-gcm96",
        {"partial_failure_response_code": 217, "batch_input": [{"plaintext": MESSAGE}, {"plaintext": BAD}]},
    ),
    (
        "encrypt/aes256-gcm96",
        {"partial_failure_response_code": "217", "batch_input": [{"plaintext": BAD}]},
    ),
    ("encrypt/aes256-gcm96", {"batch_input": []}),
    ("decrypt/aes256-gcm96", {"ciphertext": "no prefix"}),
    ("decrypt/aes256-gcm96", {"ciphertext": "vault:v1:!!"}),
    ("decrypt/aes256-gcm96", {"ciphertext": "vault:v1:aGk="}),
    ("decrypt/aes256-gcm96", {"ciphertext": "vault:v5:aGk="}),
    ("decrypt/aes256-gcm96", {"ciphertext": "vault:vx:aGk="}),
    ("decrypt/aes256-gcm96", {}),
    ("decrypt/aes256-gcm96", {"batch_input": [{"ciphertext": "no prefix", "reference": "a"}]}),
    ("verify/ecdsa-p256", {"input": MESSAGE}),
    ("verify/ecdsa-p256", {"input": MESSAGE, "signature": "no prefix"}),
    ("verify/ecdsa-p256", {"input": MESSAGE, "signature": "vault:v1:!!"}),
    ("verify/ecdsa-p256", {"input": MESSAGE, "signature": "vault:v7:aGk="}),
    ("verify/ecdsa-p256", {"input": MESSAGE, "signature": "vault:vx:aGk="}),
    ("verify/ecdsa-p256", {"batch_input": [{"input": MESSAGE, "signature": "no prefix"}]}),
    (
        "verify/ecdsa-p256",
        {"batch_input": [{"input": MESSAGE, "signature": "vault:v1:aGk="}, {"input": BAD}]},
    ),
    ("verify/ecdsa-p256", {"batch_input": []}),
    ("verify/hmac", {"input": MESSAGE, "hmac": "vault:v1:aGk="}),
    ("verify/hmac", {"input": MESSAGE, "hmac": "vault:v1:!!"}),
    ("verify/hmac", {"input": MESSAGE, "hmac": "no prefix"}),
    ("verify/hmac", {"input": MESSAGE, "signature": "vault:v1:aGk="}),
]


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(("path", "body"), USES, ids=str)
def test_the_same_use(openbao: OpenBao, real_signer: Client, method: str, path: str, body: object) -> None:
    compare(openbao.ask, real_signer.ask, method, f"/v1/transit/{path}", body)


@pytest.mark.parametrize(
    ("key", "more"),
    [
        ("ecdsa-p256", {}),
        ("ecdsa-p256", {"marshaling_algorithm": "jws"}),
        ("ecdsa-p256", {"input": DIGEST, "prehashed": True}),
        ("ed25519", {}),
        ("rsa-2048", {}),
        ("rsa-2048", {"signature_algorithm": "pkcs1v15"}),
    ],
)
def test_each_verifies_what_it_signed_and_not_what_it_did_not(
    openbao: OpenBao, real_signer: Client, key: str, more: dict[str, Any]
) -> None:
    body = {"input": MESSAGE, **more}
    other = base64.b64encode(bytes(32)).decode()
    for ask in (openbao.ask, real_signer.ask):
        signature = ask("POST", f"/v1/transit/sign/{key}", body)[1]["data"]["signature"]
        assert signature.startswith("vault:v1:")
        good = ask("POST", f"/v1/transit/verify/{key}", {**body, "signature": signature})
        bad = ask("POST", f"/v1/transit/verify/{key}", {**body, "input": other, "signature": signature})
        items = [{"input": input_, "signature": signature} for input_ in (body["input"], other)]
        items[0]["reference"] = "a"
        how = {name: value for name, value in more.items() if name != "input"}
        batch = ask("POST", f"/v1/transit/verify/{key}", {**how, "batch_input": items})
        assert (good[0], good[1]["data"]) == (200, {"valid": True})
        assert (bad[0], bad[1]["data"]) == (200, {"valid": False})
        results = batch[1]["data"]["batch_results"]
        assert results == [{"valid": True, "reference": "a"}, {"valid": False, "reference": ""}]


def test_what_was_encrypted_comes_back_and_only_with_its_associated_data(
    openbao: OpenBao, real_signer: Client
) -> None:
    answers = []
    for ask in (openbao.ask, real_signer.ask):
        body = {"plaintext": MESSAGE, "associated_data": DIGEST}
        ciphertext = ask("POST", "/v1/transit/encrypt/aes256-gcm96", body)[1]["data"]["ciphertext"]
        path = "/v1/transit/decrypt/aes256-gcm96"
        good = {"ciphertext": ciphertext, "associated_data": DIGEST}
        batch = {"batch_input": [{**good, "reference": "a"}, {"ciphertext": ciphertext}]}
        all_answers = [ask("POST", path, each) for each in (good, {"ciphertext": ciphertext}, batch)]
        answers.append([(status, shape(content)) for status, content, _ in all_answers])
        assert all_answers[0][1]["data"] == {"plaintext": MESSAGE}
        assert [status for status, *_ in all_answers] == [200, 400, 400]
    assert answers[0] == answers[1]


def test_an_hmac_is_verified_by_both(openbao: OpenBao, real_signer: Client) -> None:
    for ask in (openbao.ask, real_signer.ask):
        made = ask("POST", "/v1/transit/hmac/hmac", {"input": MESSAGE})[1]["data"]["hmac"]
        status, content, _ = ask("POST", "/v1/transit/verify/hmac", {"input": MESSAGE, "hmac": made})
        assert (status, content["data"]) == (200, {"valid": True})
