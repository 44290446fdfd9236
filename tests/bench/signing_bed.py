"""What the signing figures are measured on: a SoftHSM token, and a signer of it that ends with the bench."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench import signing_load
from tests.bench.signing_keys import HMAC, SigningKind, material
from tests.lab.daemons import DaemonProcess
from tests.signing.http.serving import WITH_THE_TESTS
from tests.signing.softhsm import LABEL, MODULE, SoftHsm, make_softhsm

_UP_S = 30.0
# Run where the module is loaded, which must not be the bench: it forks.
_IMPORT = """
import sys
from pathlib import Path
from secretsd.signing.house import configured
from secretsd.signing.pkcs11.token import Token
token = Token(configured(Path(sys.argv[1])).signer)
token.open()
lane = token.lane()
for line in sys.stdin:
    name, material = line.split()
    lane.import_key(name, bytes.fromhex(material))
token.close()
"""


def me() -> str:
    """The name of the user who runs the bench."""
    return pwd.getpwuid(os.getuid()).pw_name


class Running:
    """A signer under way."""

    def __init__(self, directory: Path, process: DaemonProcess) -> None:
        self.process = process
        self.log = directory / "log"
        self.native = directory / "signer.seq"
        self.http = directory / "signer.sock"

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    @property
    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def wait(self, key: str = HMAC.name) -> None:
        """Until it answers. Raises SystemExit with the log where it does not."""
        deadline = time.monotonic() + _UP_S
        while time.monotonic() < deadline and self.is_alive:
            if self.answers(key):
                return
            time.sleep(0.01)
        raise SystemExit(f"the signer does not answer:\n{self.log.read_text()}")

    def answers(self, key: str, timeout_s: float = 1.0) -> bool:
        """Whether it says anything but that it cannot: a refusal is an answer, too."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.settimeout(timeout_s)
            client.connect(os.fspath(self.native))
            client.send(signing_load.native_request(HMAC, key))
            answer = client.recv(4096)
            return len(answer) > 1 and not 40 <= answer[1] < 60  # numbers of the token's troubles
        return False


class Bed:
    """One token with a key for each kind."""

    def __init__(self, directory: Path, kinds: Iterable[SigningKind], *, copies: Iterable[str] = ()) -> None:
        """`copies` are further HMAC keys. Other users can reach the sockets below `directory`."""
        directory.chmod(0o755)
        self.directory = directory
        self._count = 0
        self.softhsm: SoftHsm = make_softhsm(directory / "softhsm")
        self.keys: dict[str, tuple[SigningKind, bytes]] = {
            kind.name: (kind, material(kind)) for kind in kinds
        }
        self.keys |= {name: (HMAC, material(HMAC)) for name in copies}
        lines = "".join(f"{name} {secret.hex()}\n" for name, (_, secret) in self.keys.items())
        self.config = self.configure("import", {}, {})  # for those who use the token itself
        subprocess.run(
            [sys.executable, "-c", _IMPORT, self.config],
            input=lines.encode(),
            check=True,
            env=self.environment,
        )

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.softhsm.environment}

    def fresh_directory(self, name: str) -> Path:
        """A new one, which others can look into."""
        self._count += 1
        directory = self.directory / f"{name}-{self._count}"
        directory.mkdir()
        directory.chmod(0o755)
        return directory

    @contextlib.contextmanager
    def signer(
        self,
        settings: Mapping[str, Any],
        key_settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        launcher: Sequence[str] = (),
    ) -> Iterator[Running]:
        """A signer with `settings` of `[signer]`, `key_settings` of each key, once it answers."""
        config = self.configure("signer", settings, key_settings or {})
        running = self.launch(config, environment, launcher)
        try:
            running.wait(next(iter(self.keys)))
            yield running
        finally:
            running.process.terminate()
            running.process.wait()

    def launch(
        self,
        config: Path,
        environment: Mapping[str, str] | None = None,
        launcher: Sequence[str] = (),
    ) -> Running:
        """A signer that may not answer yet."""
        directory = config.parent
        with (directory / "log").open("ab") as log:
            process = DaemonProcess(
                "secretsd.signing",
                config,
                prefix=WITH_THE_TESTS,
                launcher=launcher,
                stdout=log,
                stderr=log,
                env={**self.environment, **(environment or {})},
            )
        return Running(directory, process)

    def configure(self, name: str, settings: Mapping[str, Any], key_settings: Mapping[str, Any]) -> Path:
        """The configuration of a signer in a directory of its own.

        `key_settings` are the same for each key; who may use it is by default oneself.
        """
        directory = self.fresh_directory(name)
        table = {
            "module": os.fspath(MODULE),
            "token": LABEL,
            "pin": f"file:{self.softhsm.pin_file}",
            "socket": os.fspath(directory / "signer.sock"),
            "seqpacket_socket": os.fspath(directory / "signer.seq"),
            "state_dir": os.fspath(directory / "state"),
            **settings,
        }
        lines = ["[signer]", *_assignments(table)]
        for key, (kind, _) in self.keys.items():
            of_key = {"type": kind.type.value, "operations": kind.operations, "audit": "batched"}
            of_key |= {"allow": [{"user": me()}], **key_settings}
            lines += [f"[signer.keys.{key}]", *_assignments(of_key)]
        config = directory / "secretsd.toml"
        config.write_text("\n".join(lines) + "\n")
        return config


def _assignments(table: Mapping[str, Any]) -> list[str]:
    return [f"{name} = {_toml(value)}" for name, value in table.items()]


def _toml(value: Any) -> str:
    """JSON's texts and numbers are TOML's, too; its objects are not."""
    if isinstance(value, dict):
        return f"{{ {', '.join(_assignments(value))} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)
