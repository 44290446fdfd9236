"""The real secretsd-signer with SoftHSM, as a process of its own, with one key of each type."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.lab.daemons import DaemonProcess
from tests.signing.http.fake_desk import KEYS
from tests.signing.http.serving import WITH_THE_TESTS, Client
from tests.signing.softhsm import LABEL, MODULE, make_softhsm

_UP_S = 20.0


class RealSigner(Client):
    """The daemon at `path`."""

    def __init__(self, path: Path, process: DaemonProcess) -> None:
        super().__init__(path)
        self._process = process

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def open_descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))


_ASYMMETRIC = ["sign", "verify", "public-key"]
_OPERATIONS = {"hmac": ["hmac", "verify"], "aes256-gcm96": ["encrypt", "decrypt"]}
_MAKE_KEYS = """
import sys
from pathlib import Path
from secretsd.signing.house import configured
from secretsd.signing.pkcs11.token import Token
config = configured(Path(sys.argv[1])).signer
token = Token(config)
token.open()
for name in config.keys:
    token.lane().generate(name)
token.close()
"""


@contextlib.contextmanager
def running(directory: Path) -> Iterator[RealSigner]:
    """Each key is named like its type, and this user may do everything that its type can."""
    softhsm = make_softhsm(directory / "softhsm")
    config = directory / "secretsd.toml"
    config.write_text(_configuration(directory, softhsm.pin_file))
    environment = {**os.environ, **softhsm.environment}
    subprocess.run([sys.executable, "-c", _MAKE_KEYS, config], check=True, env=environment)
    with (directory / "log").open("wb") as log:
        process = DaemonProcess(
            "secretsd.signing", config, prefix=WITH_THE_TESTS, stdout=log, stderr=log, env=environment
        )
    client = RealSigner(directory / "signer.sock", process)
    try:
        _wait(client)
        yield client
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0, (directory / "log").read_text()


def _configuration(directory: Path, pin: Path) -> str:
    lines = [
        "[signer]",
        f'module = "{MODULE}"',
        f'token = "{LABEL}"',
        f'pin = "file:{pin}"',
        f'socket = "{directory}/signer.sock"',
        f'seqpacket_socket = "{directory}/signer.seq"',
        f'state_dir = "{directory}/state"',
    ]
    user = pwd.getpwuid(os.getuid()).pw_name
    for name, type_ in KEYS.items():
        operations = _OPERATIONS.get(type_.value, _ASYMMETRIC)
        lines += [f"[signer.keys.{name}]", f'type = "{type_.value}"', f"operations = {operations}"]
        lines += [f'allow = [{{ user = "{user}" }}]']
        if name not in ("ed25519", "aes256-gcm96"):
            prehashed = [] if name == "hmac" else ["prehashed"]
            lines += [f"mechanisms = {['sha2-256', 'sha2-384', 'sha2-512', *prehashed]}"]
    return "\n".join(lines).replace("'", '"') + "\n"


def _wait(client: RealSigner) -> None:
    deadline = time.monotonic() + _UP_S
    while client.is_alive and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if client.ask("GET", "/v1/transit/keys/hmac")[0] == 200:
                return
        time.sleep(0.05)
    raise AssertionError("the signer did not start")
