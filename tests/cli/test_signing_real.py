"""secretsctl and the real signer: from a key that does not exist to a signature that openssl finds good."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_signing import ctl
from tests.signing.daemon import Daemon

_PAIR = ["sign", "verify", "public-key"]
KEYS = {
    "hot": {"type": "ecdsa-p256", "operations": _PAIR, "mechanisms": ["sha2-256", "prehashed"]},
    "orders": {"type": "hmac", "operations": ["hmac", "verify"]},
    "kek": {"type": "aes256-wrap"},
    "cold": {
        "type": "ecdsa-secp256k1", "operations": [*_PAIR, "wrap", "unwrap"], "wrapped_by": "kek",
        "approvers": [{"user": "nobody"}],
    },
}  # fmt: skip
_NOBODY = 65534
# Another user's process: the approver.
_APPROVE = f"""
import http.client, os, socket, sys
connection = http.client.HTTPConnection("localhost")
os.setgroups([]); os.setgid({_NOBODY}); os.setuid({_NOBODY})
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(sys.argv[1])
connection.request("POST", "/v1/secretsd/approvals/" + sys.argv[2], "{{}}")
print(connection.getresponse().status)
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("real"), KEYS) as running:
        yield running


def openssl(*arguments: str, given: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=given, check=True, capture_output=True).stdout


def test_from_a_missing_key_to_a_signature_that_openssl_finds_good(daemon: Daemon, tmp_path: Path) -> None:
    path, message = daemon.http, b"buy 1 BTC"
    code, _, said = ctl(path, "sign", "hot", given=message)
    assert code == 78
    assert "secretsctl keys generate hot" in said
    assert ctl(path, "keys", "generate", "hot")[0] == 0
    files = {name: tmp_path / name for name in ("message", "signature", "public")}
    files["message"].write_bytes(message)
    assert ctl(path, "sign", "hot", "--in", str(files["message"]), "-o", str(files["signature"]))[0] == 0
    files["public"].write_text(ctl(path, "public-key", "hot")[1])
    check = ("dgst", "-sha256", "-verify", str(files["public"]), "-signature", str(files["signature"]))
    assert b"Verified OK" in openssl(*check, str(files["message"]))
    given = ("verify", "hot", "--signature-file", str(files["signature"]))
    assert ctl(path, *given, given=message)[0] == 0
    assert ctl(path, *given, given=b"sell 1 BTC")[0] == 65
    digest = openssl("dgst", "-sha256", "-binary", str(files["message"]))
    assert ctl(path, *given, "--digest", given=digest)[0] == 0
    assert ctl(path, "sign", "hot", "--digest", given=digest[:-1])[0] == 64
    signed = ctl(path, "sign", "hot", "--marshaling", "jws", given=message)[1].strip()
    assert ctl(path, "verify", "hot", "--marshaling", "jws", f"--signature={signed}", given=message)[0] == 0


def test_an_imported_key_is_the_one_of_the_file(daemon: Daemon, tmp_path: Path) -> None:
    path, private = daemon.http, tmp_path / "private.pem"
    private.write_bytes(openssl("ecparam", "-name", "prime256v1", "-genkey"))  # SEC1, behind its parameters
    private.chmod(0o600)
    code, written, said = ctl(path, "keys", "import", "hot", "--in", str(private))
    assert (code, said) == (0, "")
    public = openssl("ec", "-in", str(private), "-pubout").decode()
    assert public in written
    number = written.split()[2]
    assert ctl(path, "public-key", "hot", "--key-version", number)[1] == public
    assert ctl(path, "keys", "import", "cold", "--in", str(private))[0] == 65


def test_an_hmac_of_an_imported_key_is_what_openssl_computes(daemon: Daemon) -> None:
    key = "0b" * 20
    assert ctl(daemon.http, "keys", "import", "orders", "--format", "hex", given=key.encode())[0] == 0
    expected = openssl(
        "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}", "-binary", given=b"hello"
    )
    code, written, _ = ctl(daemon.http, "sign", "orders", "--json", given=b"hello")
    assert code == 0
    assert base64.b64decode(json.loads(written)["hmac"]) == expected
    mac = json.loads(written)["hmac"]
    assert ctl(daemon.http, "verify", "orders", f"--signature={mac}", given=b"hello")[0] == 0
    assert ctl(daemon.http, "verify", "orders", f"--signature={mac}", given=b"hallo")[0] == 65


def test_a_retired_version_signs_no_more_and_verifies_for_ever(daemon: Daemon) -> None:
    path = daemon.http
    for _ in range(2):
        assert ctl(path, "keys", "generate", "hot")[0] == 0
    versions = [each["version"] for each in _key(path, "hot")["versions"]]
    old = str(versions[-2])
    signed = ctl(path, "sign", "hot", "--key-version", old, given=b"x")[1].strip()
    assert ctl(path, "keys", "retire", "hot", old, "--yes")[0] == 0
    assert ctl(path, "sign", "hot", "--key-version", old, given=b"x")[0] == 77
    assert ctl(path, "verify", "hot", f"--signature={signed}", given=b"x")[1].split()[6] == old


def _key(path: Path, name: str) -> dict[str, object]:
    keys = json.loads(ctl(path, "keys", "list", "--json")[1])["keys"]
    return next(key for key in keys if key["name"] == name)


@pytest.mark.skipif(os.geteuid() != 0, reason="the approver is another user: needs root")
def test_a_wrapped_key_comes_back_only_with_another_users_approval(daemon: Daemon, tmp_path: Path) -> None:
    path, blob = daemon.http, tmp_path / "cold.wrapped"
    for directory in (daemon.directory, *daemon.directory.parents):
        directory.chmod(directory.stat().st_mode | 0o011)
    for name in ("kek", "cold"):
        assert ctl(path, "keys", "generate", name)[0] == 0
    public = ctl(path, "public-key", "cold")[1]
    assert ctl(path, "keys", "wrap", "cold", "-o", str(blob))[0] == 0
    unwrap = ("keys", "unwrap", "cold", "--in", str(blob))
    request = json.loads(ctl(path, *unwrap, "--json")[1])["request_id"]
    assert ctl(path, *unwrap, "--request", request)[0] == 75
    code, _, said = ctl(path, "approve", request)
    assert code == 77
    assert "whoever asked cannot approve" in said
    approve = [sys.executable, "-c", _APPROVE, str(path), request]
    assert subprocess.run(approve, check=True, capture_output=True).stdout == b"200\n"
    code, written, _ = ctl(path, *unwrap, "--request", request)
    assert code == 0
    assert public in written
    assert ctl(path, *unwrap, "--request", request)[0] == 64, "an approval counts once"


def test_a_message_that_is_too_large_is_said_to_be(daemon: Daemon) -> None:
    code, _, said = ctl(daemon.http, "sign", "hot", given=b"x" * 200_000)
    assert code == 64
    assert "digest" in said


def test_the_configuration_says_where_the_signer_is(daemon: Daemon, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert ctl(nowhere, "keys", "list", "--config", str(daemon.config))[0] == 0
    assert ctl(nowhere, "--config", str(daemon.config), "keys")[0] == 0
    (tmp_path / "no-signer.toml").write_text("")
    assert ctl(nowhere, "keys", "list", "--config", str(tmp_path / "no-signer.toml"))[0] == 78
