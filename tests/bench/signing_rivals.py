"""What secretsd is compared with, on the same keys: p11-kit server, OpenBao Transit, the library alone."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests.bench.signing_bed import Bed
from tests.bench.signing_keys import SECP256K1, SigningKind
from tests.bench.signing_load import Load
from tests.signing.http.serving import WITH_THE_TESTS
from tests.signing.softhsm import LABEL, MODULE, PIN

_UP_S = 30.0
OPENBAO = Path(sys.executable).parent / "bao"
_CLIENT_MODULES = ("/usr/lib/*/pkcs11/p11-kit-client.so", "/usr/lib*/pkcs11/p11-kit-client.so")
_OPENBAO = """
storage "raft" {{
  path = "{directory}/data"
  node_id = "bench"
}}
api_addr = "http://127.0.0.1:{api}"
cluster_addr = "https://127.0.0.1:{cluster}"
# Raft, the one storage of a server on its own, wants a listener with a port. The clients use the other one.
listener "tcp" {{
  address = "127.0.0.1:{api}"
  cluster_address = "127.0.0.1:{cluster}"
  tls_disable = true
}}
listener "unix" {{ address = "{directory}/bao.sock" }}
audit "file" "trail" {{ options = {{ file_path = "{directory}/audit.log" }} }}
"""


def library(bed: Bed, kind: SigningKind, threads: int, seconds: float) -> Load:
    """python-pkcs11 with its locking fix, a session for each thread, nothing around it."""
    command = [
        sys.executable,
        "-m",
        "tests.bench.signing_raw",
        bed.config,
        kind.name,
        str(threads),
        str(seconds),
    ]
    out = subprocess.run(command, check=True, capture_output=True, env=bed.environment).stdout
    return Load(**json.loads(out))


def p11_kit_client() -> Path | None:
    """The module that speaks to p11-kit server, where it is installed."""
    return next((found for each in _CLIENT_MODULES for found in Path("/").glob(each[1:])), None)


@contextlib.contextmanager
def p11_kit(bed: Bed) -> Iterator[dict[str, str]]:
    """A server of the bed's token; yields the environment of its clients."""
    address = bed.fresh_directory("p11-kit") / "socket"
    command = ["p11-kit", "server", "--foreground", "--name", address, "--provider", MODULE]
    process = subprocess.Popen(
        [*WITH_THE_TESTS, *command, f"pkcs11:token={LABEL}"], env=bed.environment, stdout=subprocess.DEVNULL
    )
    try:
        _wait_for(address)
        yield {"P11_KIT_SERVER_ADDRESS": f"unix:path={address}", "LOAD_PIN": PIN}
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def openbao(bed: Bed) -> Iterator[OpenBao]:
    """With the bed's keys, but for those that it has no type for."""
    server = OpenBao(bed.fresh_directory("openbao"))
    process = server.start()
    try:
        _wait_for(server.socket)
        server.set_up(kept for kept in bed.keys.values() if kept[0] is not SECP256K1)
        yield server
    finally:
        process.terminate()
        process.wait()


class OpenBao:
    """A server with raft storage, a file audit device and Transit, on a Unix socket."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.socket = directory / "bao.sock"
        self.token = ""

    def start(self) -> subprocess.Popen[bytes]:
        (self._directory / "data").mkdir()
        config = _OPENBAO.format(directory=self._directory, api=_free_port(), cluster=_free_port())
        (self._directory / "bao.hcl").write_text(config)
        command = [*WITH_THE_TESTS, OPENBAO, "server", f"-config={self._directory}/bao.hcl"]
        environment = {**os.environ, "HOME": os.fspath(self._directory)}
        with (self._directory / "log").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def set_up(self, keys: Iterable[tuple[SigningKind, bytes]]) -> None:
        """Unsealed, with these keys, and a token to use them."""
        self._unseal()
        self._ask("POST", "sys/mounts/transit", {"type": "transit"})
        for kind, material in keys:
            self._import(kind, material)
        self._take_a_bots_token()

    def _unseal(self) -> None:
        made = self._ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self._ask("PUT", "sys/unseal", {"key": made["keys"][0]})
        self.token = made["root_token"]
        deadline = time.monotonic() + _UP_S
        while time.monotonic() < deadline:
            with contextlib.suppress(SystemExit):
                self._ask("GET", "sys/mounts", None)
                return
            time.sleep(0.1)
        raise SystemExit("OpenBao does not unseal")

    def _take_a_bots_token(self) -> None:
        """One that may sign and no more, since root's would pass authorization by."""
        rules = "".join(
            f'path "transit/{each}/*" {{ capabilities = ["update"] }}\n' for each in ("sign", "hmac")
        )
        self._ask("PUT", "sys/policies/acl/bot", {"policy": rules})
        made = self._ask("POST", "auth/token/create", {"policies": ["bot"], "no_parent": True})
        self.token = made["auth"]["client_token"]

    def _import(self, kind: SigningKind, material: bytes) -> None:
        """Its "bring your own key": AES-KWP under an ephemeral key, which RSA-OAEP hides."""
        pem = self._ask("GET", "transit/wrapping_key", None)["data"]["public_key"]
        public = load_pem_public_key(pem.encode())
        assert isinstance(public, rsa.RSAPublicKey)
        ephemeral = os.urandom(32)
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        blob = public.encrypt(ephemeral, oaep) + aes_key_wrap_with_padding(ephemeral, material)
        body = {"type": kind.type.value, "ciphertext": base64.b64encode(blob).decode()}
        self._ask("POST", f"transit/keys/{kind.name}/import", {**body, "hash_function": "SHA256"})

    def _ask(self, method: str, path: str, body: object) -> dict[str, Any]:
        connection = http.client.HTTPConnection("localhost", timeout=20)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(os.fspath(self.socket))
        data = None if body is None else json.dumps(body)
        connection.request(method, f"/v1/{path}", data, {"X-Vault-Token": self.token})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if response.status >= 300:
            raise SystemExit(f"OpenBao: {path}: {response.status} {content[:200]!r}")
        return dict(json.loads(content or b"{}"))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + _UP_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing listens at {path.name}")
        time.sleep(0.02)
