"""The clients of the signing figures: a program in C, so that no interpreter blurs what is measured."""

from __future__ import annotations

import base64
import functools
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from secretsd.signing import frame
from secretsd.signing.model import KeyType
from tests.bench.signing_keys import MESSAGE, SigningKind

_SOURCE = Path(__file__).with_name("load.c")
_OPERATIONS = {operation.value: number for number, operation in frame.OPERATIONS.items()}
_PKCS1V15 = 0x81  # the frame's padding or marshaling: RSASSA-PKCS1-v1_5


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients saw. `refused` are answers that say no, `failed` connections that broke."""

    done: int
    refused: int
    failed: int
    seconds: float
    p50_us: float
    p99_us: float
    worst_us: float

    @property
    def rate(self) -> float:
        """Signatures a second."""
        return self.done / self.seconds


@dataclass(frozen=True)
class Target:
    """Whom to ask for what: `mode` is native, http or p11, as load.c says."""

    mode: str
    address: Path
    request: bytes
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Clients:
    """So many processes, for a time after a warm-up, or with `count` so many requests of each."""

    number: int
    measured_s: float = 0.0
    count: int = 0
    uid: int | None = None
    reconnects: bool = False

    @property
    def arguments(self) -> list[str]:
        warmup_ms = 0 if self.count else round(min(1.0, self.measured_s / 4) * 1000)
        more = [] if self.uid is None else ["-u", str(self.uid)]
        more += ["-n", str(self.count)] if self.count else []
        more += ["-r"] if self.reconnects else []
        return [str(self.number), str(warmup_ms), str(round(self.measured_s * 1000)), *more]


def run(target: Target, clients: Clients) -> Load:
    """Blocks until all clients are done."""
    return finish(start(target, clients))


def start(target: Target, clients: Clients) -> subprocess.Popen[bytes]:
    """The clients, running; see `finish`."""
    command = [os.fspath(_program()), target.mode, os.fspath(target.address)]
    process = subprocess.Popen(
        [*command, *clients.arguments, *target.options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **target.environment},
    )
    assert process.stdin is not None
    process.stdin.write(target.request)
    process.stdin.close()
    process.stdin = None
    return process


def finish(process: subprocess.Popen[bytes]) -> Load:
    """What they saw."""
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit("the clients ended too early: see above")
    return Load(**json.loads(out))


def native(address: Path, kind: SigningKind, key: str = "") -> Target:
    return Target("native", address, native_request(kind, key or kind.name))


def native_request(kind: SigningKind, key: str) -> bytes:
    """A frame that asks for a signature of `MESSAGE`."""
    scheme = _PKCS1V15 if kind.type.is_rsa else 0
    numbers = (frame.VERSION, _OPERATIONS[kind.operation], 0, 0, scheme, len(key), -1, 0, 0, 0, 1, 0)
    return frame._HEAD.pack(*numbers) + key.encode() + MESSAGE


def http(address: Path, kind: SigningKind, token: str) -> Target:
    """The same in Transit's words, as both secretsd and OpenBao understand them."""
    hash_ = "" if kind.type is KeyType.ED25519 else "/sha2-256"
    body = {"input": base64.b64encode(MESSAGE).decode()}
    if kind.type.is_rsa:
        body["signature_algorithm"] = "pkcs1v15"
    content = json.dumps(body).encode()
    head = (
        f"POST /v1/transit/{kind.operation}/{kind.name}{hash_} HTTP/1.1\r\nHost: localhost\r\n"
        f"X-Vault-Token: {token}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return Target("http", address, head.encode() + content)


def p11(module: Path, kind: SigningKind, environment: Mapping[str, str]) -> Target:
    """What the token is asked for itself, through another module."""
    options = ("-k", kind.name, "-m", hex(kind.mechanism), "-c", str(kind.object_class))
    return Target("p11", module, kind.token_data, options, environment)


def _program() -> Path:
    built = Path(_directory().name) / "load"
    if not built.exists():
        subprocess.run(["cc", "-O2", "-o", built, _SOURCE, "-ldl"], check=True)
        built.parent.chmod(0o755)  # it runs as other users, too
    return built


@functools.cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    """Goes with the process."""
    return tempfile.TemporaryDirectory(prefix="secretsd-load-")
