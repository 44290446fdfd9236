"""The clients that people have: `bao`, curl and hvac, each as it is, against the socket."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import hvac
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from secretsd.signing.errors import SigningError
from tests.signing.http.fake_desk import KEYS, FakeDesk
from tests.signing.http.openbao import BAO
from tests.signing.http.real_signer import RealSigner
from tests.signing.http.serving import Client, Served

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "transit.md"
MESSAGE = base64.b64encode(b"buy 1 BTC").decode()
DIGEST = base64.b64encode(bytes(range(32))).decode()


def bao(signer: Client, home: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BAO_ADDR": f"unix://{signer.path}", "HOME": str(home)}
    return subprocess.run(
        [BAO, *arguments], env=environment, input=stdin, capture_output=True, text=True, check=False
    )


def bao_data(signer: Client, home: Path, *arguments: str, stdin: str = "") -> Any:
    verb, *rest = arguments
    done = bao(signer, home, verb, "-format=json", *rest, stdin=stdin)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return answer["data"] if isinstance(answer, dict) else answer


def test_bao_lists_and_reads_keys(signer: Served, tmp_path: Path) -> None:
    assert bao_data(signer, tmp_path, "list", "transit/keys") == sorted(KEYS)
    read = bao_data(signer, tmp_path, "read", "transit/keys/ecdsa-p256")
    assert read["keys"]["1"]["public_key"].startswith("-----BEGIN PUBLIC KEY-----\n")
    assert read["latest_version"] == 1


def test_bao_signs_and_verifies(signer: Served, tmp_path: Path) -> None:
    for more in ((f"input={MESSAGE}", "key_version=1"), (f"input={DIGEST}", "prehashed=true")):
        signed = bao_data(signer, tmp_path, "write", "transit/sign/ecdsa-p256/sha2-256", *more)
        verify = ("transit/verify/ecdsa-p256/sha2-256", *more[:1], *(m for m in more[1:] if "prehashed" in m))
        verified = bao_data(signer, tmp_path, "write", *verify, f"signature={signed['signature']}")
        assert verified == {"valid": True}


def test_what_bao_signs_with_the_daemon_is_good_by_the_public_key_it_reads(
    real_signer: RealSigner, tmp_path: Path
) -> None:
    message = f"input={MESSAGE}"
    read = bao_data(real_signer, tmp_path, "read", "transit/keys/ecdsa-p256")
    public = load_pem_public_key(read["keys"]["1"]["public_key"].encode())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    signed = bao_data(real_signer, tmp_path, "write", "transit/sign/ecdsa-p256", message)["signature"]
    public.verify(
        base64.b64decode(signed.split(":")[2]), base64.b64decode(MESSAGE), ec.ECDSA(hashes.SHA256())
    )
    read = bao_data(real_signer, tmp_path, "read", "transit/keys/ed25519")
    raw = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(read["keys"]["1"]["public_key"]))
    signed = bao_data(real_signer, tmp_path, "write", "transit/sign/ed25519", message)["signature"]
    raw.verify(base64.b64decode(signed.split(":")[2]), base64.b64decode(MESSAGE))


def test_bao_sends_a_batch(signer: Served, tmp_path: Path) -> None:
    body = json.dumps({"batch_input": [{"input": MESSAGE, "reference": "a"}, {"input": MESSAGE}]})
    results = bao_data(signer, tmp_path, "write", "transit/hmac/hmac", "-", stdin=body)["batch_results"]
    assert [result["reference"] for result in results] == ["a", ""]
    assert results[0]["hmac"] == results[1]["hmac"]


def test_bao_encrypts_and_decrypts(signer: Served, tmp_path: Path) -> None:
    sealed = bao_data(signer, tmp_path, "write", "transit/encrypt/aes256-gcm96", f"plaintext={MESSAGE}")
    ciphertext = f"ciphertext={sealed['ciphertext']}"
    assert bao_data(signer, tmp_path, "write", "transit/decrypt/aes256-gcm96", ciphertext) == {
        "plaintext": MESSAGE
    }


def test_bao_shows_the_sentence_of_an_error(signer: Served, tmp_path: Path) -> None:
    done = bao(signer, tmp_path, "write", "transit/sign/no-such-key", f"input={MESSAGE}")
    assert done.returncode == 2
    assert "there is no such key: list the keys" in done.stderr


def test_bao_status_says_sealed_while_the_token_is_locked(
    signer: Served, desk: FakeDesk, tmp_path: Path
) -> None:
    assert bao(signer, tmp_path, "status").returncode == 0
    desk.trouble = SigningError("pin-locked", "the PIN was refused", advice="secretsctl unlock")
    done = bao(signer, tmp_path, "status")
    assert done.returncode == 2  # bao's own code for a sealed server
    assert re.search(r"^Sealed +true$", done.stdout, re.MULTILINE)


def test_bao_looks_up_who_it_is(signer: Served, tmp_path: Path) -> None:
    done = bao(signer, tmp_path, "token", "lookup")
    assert re.search(r"^display_name +trading-bot.service$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("more", [(), ("-H", "Expect: 100-continue"), ("-H", "Transfer-Encoding: chunked")])
def test_curl_makes_an_hmac(signer: Served, more: tuple[str, ...]) -> None:
    command = ["curl", "-sS", "-m", "10", "--unix-socket", signer.path, *more, "-H", "X-Vault-Token: any"]
    url = "http://localhost/v1/transit/hmac/hmac"
    done = subprocess.run(
        [*command, "-d", json.dumps({"input": MESSAGE}), url], capture_output=True, check=True
    )
    assert json.loads(done.stdout)["data"]["hmac"].startswith("vault:v1:")


def documented_hvac(signer: Served) -> Any:
    """The client that docs/transit.md makes, by its own lines."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for line in code.splitlines() if not line.startswith("client.")]
    names: dict[str, Any] = {}
    exec("\n".join(lines).replace("/run/secretsd-signer/signer.sock", str(signer.path)), names)
    return names["client"]


def test_hvac_does_all_of_it(signer: Served) -> None:
    client = documented_hvac(signer)
    transit = client.secrets.transit
    assert client.is_authenticated()
    assert client.sys.read_health_status(method="GET")["initialized"]
    assert client.sys.read_health_status().status_code == 200  # HEAD
    assert not client.sys.is_sealed()
    assert transit.list_keys()["data"]["keys"] == sorted(KEYS)
    assert transit.read_key("rsa-2048")["data"]["type"] == "rsa-2048"
    for key, more in (
        ("ecdsa-p256", {"marshaling_algorithm": "jws"}),
        ("ed25519", {}),
        ("rsa-2048", {"signature_algorithm": "pss", "salt_length": "hash"}),
    ):
        signed = transit.sign_data(key, MESSAGE, **more)["data"]["signature"]
        verified = transit.verify_signed_data(key, MESSAGE, signature=signed, **more)
        assert verified["data"] == {"valid": True}
    made = transit.generate_hmac("hmac", MESSAGE)["data"]["hmac"]
    assert transit.verify_signed_data("hmac", MESSAGE, hmac=made)["data"] == {"valid": True}
    sealed = transit.encrypt_data("aes256-gcm96", MESSAGE)["data"]["ciphertext"]
    assert transit.decrypt_data("aes256-gcm96", sealed)["data"] == {"plaintext": MESSAGE}
    with pytest.raises(hvac.exceptions.InvalidRequest, match="there is no such key"):
        transit.sign_data("no-such-key", MESSAGE)
    with pytest.raises(hvac.exceptions.InvalidPath):
        transit.read_key("no-such-key")
    client.adapter.close()
