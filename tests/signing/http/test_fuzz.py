"""Mutated requests: each is answered or refused, nothing crashes, and no descriptor stays open.

SECRETSD_FUZZ_HTTP=N sends so many; make soak sends 1,000,000.
"""

from __future__ import annotations

import json
import os
import random
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

from secretsd.signing.model import Request
from tests.signing.http.fake_desk import FakeAdministration, FakeDesk, routes
from tests.signing.http.real_signer import RealSigner
from tests.signing.http.serving import Client, serving
from tests.signing.http.test_connection import answers, post, wait_until_gone

SOAK, SAMPLE = "1000000", "4000"
COUNT = int(os.environ.get("SECRETSD_FUZZ_HTTP", SOAK if os.environ.get("SECRETSD_SOAK") == "1" else SAMPLE))
PLANTED = 1000
SEEDS = [
    post(),
    post("sign/ecdsa-p256/sha2-256", b'{"input":"aGVsbG8=","key_version":1,"marshaling_algorithm":"jws"}'),
    post("verify/hmac", b'{"input":"aGVsbG8=","hmac":"vault:v1:aGVsbG8="}'),
    post("encrypt/aes256-gcm96", b'{"batch_input":[{"plaintext":"aGk=","reference":"a"},{"plaintext":"!"}]}'),
    post("decrypt/aes256-gcm96", b'{"ciphertext":"vault:v1:aGVsbG8=","associated_data":""}'),
    post("hmac/hmac", b'{"batch_input":[{"input":"aGk="},{"input":null},{}],"prehashed":"false"}'),
    b"LIST /v1/transit/keys HTTP/1.1\r\nHost: s\r\n\r\n",
    b"GET /v1/transit/keys?list=true HTTP/1.1\r\nHost: s\r\nConnection: keep-alive\r\n\r\n",
    b"GET /v1/transit/keys/rsa-2048 HTTP/1.1\r\nHost: s\r\nX-Secretsd-Timeout-Ms: 100\r\n\r\n",
    b"POST /v1/transit/hmac/hmac HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'a\r\n{"input":"\r\n6;x=y\r\naGk="}\r\n0\r\nT: u\r\n\r\n',
    b"POST /v1/secretsd/keys/a/retire HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 13\r\n\r\n"
    b'{"version":2}',
]
PIECES = [
    *(b"\r\n", b"\r\n\r\n", b"\0", b"\xff", b'"', b"[", b"{", b"}" * 9, b"[" * 3000, b"9" * 5000, b"%00%2f"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Upgrade: x\r\nConnection: upgrade\r\n"),
    *(
        b"vault:v1:",
        b"NaN",
        b"null",
        b"-1",
        b"true",
        b"1e9",
        b"\\ud800",
        b"HTTP/1.0",
        b"LIST ",
        b"?list=true",
    ),
    b"A" * 66000,
]


MEMBERS = [
    *("input", "plaintext", "ciphertext", "signature", "hmac", "batch_input", "reference", "associated_data"),
    *("key_version", "prehashed", "hash_algorithm", "salt_length", "signature_algorithm"),
    *("marshaling_algorithm", "partial_failure_response_code", "context"),
]
VALUES: list[Any] = [
    *(
        "",
        "aGk=",
        "gICA",
        "!",
        "vault:v1:aGk=",
        "vault:v9:gICA",
        "vault:v1:",
        "sha2-512",
        "jws",
        "eth",
        "pss",
    ),
    *(0, 1, -1, 2**31, 2**63, 1.5, 1e300, True, False, None, [], {}, [[]], [{}], {"": []}, "\ud800", "\0"),
    *("x" * 40000, ["aGk="] * 300, [{"input": "aGk="}] * 40),
]


def mutated(chance: random.Random) -> bytes:
    """A third is mutated anywhere, a third in the body, a third has odd values in good JSON."""
    seed = chance.choice(SEEDS)
    head, _, body = seed.partition(b"\r\n\r\n")
    kind = chance.randrange(3)
    if kind == 0 or not seed.startswith(b"POST /v1/transit/") or b"chunked" in head:
        return _mutated(chance, seed)
    path = head.split(b" ")[1].removeprefix(b"/v1/transit/").decode()
    return post(path, _mutated(chance, body) if kind == 1 else _odd(chance, json.loads(body)))


def _odd(chance: random.Random, body: dict[str, Any]) -> bytes:
    target = body
    if "batch_input" in body and chance.random() < 0.7:
        target = chance.choice(body["batch_input"])
    target[chance.choice(chance.choice((MEMBERS, list(target) or MEMBERS)))] = chance.choice(VALUES)
    return json.dumps(body).encode()


def _mutated(chance: random.Random, seed: bytes) -> bytes:
    data = bytearray(seed)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at : at + chance.choice((1, 1, 2, 5, 40))]
            case 2:
                data[at:at] = chance.choice(PIECES)
            case 3:
                data[at:at] = data[at : at + chance.randrange(30)] * chance.choice((1, 2, 20))
            case 4:
                data[at:] = chance.choice(SEEDS)[chance.randrange(20) :]
            case _ if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
    return bytes(data)


def fuzz(signer: Client, count: int, seed: int) -> Counter[int]:
    """Statuses of all answers. Fails where one is not an answer at all."""
    chance = random.Random(seed)
    found: Counter[int] = Counter()
    for _ in range(count):
        with signer.connect() as client:
            try:
                client.sendall(mutated(chance))
                client.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # refused before all of it was sent
            try:
                found.update(status for status, _ in answers(client))
            except ConnectionResetError:
                found[0] += 1  # closed with unread bytes of ours
    return found


def test_the_fuzz_sees_a_planted_crash(tmp_path: Path) -> None:
    class Crashing(FakeDesk):
        def submit(self, caller: object, request: Request, answer: Any) -> None:
            if request.payload not in (b"hello", b"hi"):
                raise KeyError("planted")
            super().submit(caller, request, answer)

    with serving(routes(Crashing(), FakeAdministration()), tmp_path / "s") as signer:
        assert fuzz(signer, PLANTED, 1)[500] > 0


def test_mutated_requests_crash_nothing(tmp_path: Path) -> None:
    desk = FakeDesk()
    with serving(routes(desk, FakeAdministration()), tmp_path / "s") as signer:
        fuzz(signer, 50, 2)
        wait_until_gone(signer)
        before = len(os.listdir("/proc/self/fd"))
        started = time.monotonic()
        found = fuzz(signer, COUNT, 3)
        wait_until_gone(signer)
        print(
            f"{COUNT} requests in {time.monotonic() - started:.0f} s, answers: {dict(sorted(found.items()))}"
        )
        assert len(os.listdir("/proc/self/fd")) == before
        assert signer.ask("POST", "/v1/transit/hmac/hmac", {"input": "aGk="})[0] == 200
    assert found[500] == 0
    # The mutations are neither so wild that all is refused, nor so tame that nothing is.
    assert found[200] > COUNT // 10
    assert found[400] > COUNT // 10
    assert set(found) <= {0, 100, 200, 202, 400, 403, 404, 405, 408, 413, 417, 501}


def test_mutated_requests_do_the_daemon_no_harm(real_signer: RealSigner) -> None:
    fuzz(real_signer, 50, 4)
    before = real_signer.open_descriptors()
    found = fuzz(real_signer, COUNT // 4, 5)
    deadline = time.monotonic() + 5
    while real_signer.open_descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert real_signer.open_descriptors() <= before
    assert real_signer.is_alive
    assert found[500] == 0
    assert found[200] > COUNT // 40
