"""A SoftHSM token of a test's own, in a directory of its own."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.canary.spellings import MARK

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = f"{MARK}pin-0000"
LABEL = "test-token"


@dataclass(frozen=True)
class SoftHsm:
    """`environment` must be set in every process that loads the module."""

    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": os.fspath(self.directory / "softhsm2.conf")}

    @property
    def tokens(self) -> Path:
        return self.directory / "tokens"

    @property
    def pin_file(self) -> Path:
        return self.directory / "pin"


def make_softhsm(directory: Path) -> SoftHsm:
    """An initialised token without keys."""
    softhsm = SoftHsm(directory)
    softhsm.tokens.mkdir(parents=True)
    (directory / "softhsm2.conf").write_text(
        f"directories.tokendir = {softhsm.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    softhsm.pin_file.write_text(f"{PIN}\n")
    softhsm.pin_file.chmod(0o600)
    command = ("softhsm2-util", "--init-token", "--free", "--label", LABEL, "--so-pin", PIN, "--pin", PIN)
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **softhsm.environment})
    return softhsm
