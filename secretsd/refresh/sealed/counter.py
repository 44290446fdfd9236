"""A counter in the TPM that only goes up, whatever happens to the disk. Through tpm2-tools, found when asked.

Its index is made by `secretsctl seal-setup --counter`, needs no password, and is reached by whoever may open
the TPM's device. A new index of the same handle begins above every value that any counter of this TPM has had
(TCG, TPM 2.0 Library, part 3, TPM2_NV_Increment).
"""

from __future__ import annotations

import os
import subprocess

from secretsd.errors import FailureError
from secretsd.refresh.sealed import refusals

_TIMEOUT_S = 3.0  # a TPM takes a tenth of a second
_BYTES = 8
_TCTI = "TPM2TOOLS_TCTI"
_RESOURCE_MANAGER = "device:/dev/tpmrm0"


def read(place: str) -> int:
    """The counter's value; `place` is "tpm:HANDLE". Blocks for the TPM. Raises: FailureError."""
    return int.from_bytes(_run(place, "tpm2_nvread", "--size", str(_BYTES)))


def increment(place: str) -> None:
    """Makes it one more, for good. Blocks for the TPM. Raises: FailureError."""
    _run(place, "tpm2_nvincrement")


def _run(place: str, tool: str, *options: str) -> bytes:
    handle = place.partition(":")[2]
    environment = {_TCTI: _RESOURCE_MANAGER, **os.environ}
    try:
        done = subprocess.run(
            [tool, handle, "--hierarchy", handle, *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            env=environment,
        )
    except FileNotFoundError:
        why = f"there is no {tool}: apt install tpm2-tools"
    except (OSError, subprocess.TimeoutExpired) as error:
        why = f"{tool} failed: {type(error).__name__}"
    else:
        if done.returncode == 0 and len(done.stdout) in (0, _BYTES):
            return done.stdout
        why = f"{tool} failed: {_last_line(done.stderr)}"
    raise FailureError(refusals.counter_missing(place, why))


def _last_line(said: bytes) -> str:
    # The last line says only that it failed; the one before it says of what.
    lines = [line for line in said.decode(errors="replace").splitlines() if line.startswith("ERROR")]
    return lines[0] if lines else "without a word"
