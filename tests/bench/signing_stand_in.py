"""A stand-in for a network HSM: SoftHSM behind a module that takes 1.5 ms for each call.

python -m tests.bench.signing_stand_in [SECONDS]
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.bench import signing_load
from tests.bench.figures import Figure, table
from tests.bench.signing_bed import Bed
from tests.bench.signing_keys import HMAC
from tests.bench.signing_load import Clients, Load, Target
from tests.signing.shim import Shim

_CALL_S = 0.0015
_CLIENTS, _SESSIONS = 64, 32
_RUNS = 5


def stand_in(seconds: float) -> list[Figure]:
    """Signatures a second and their slowest hundredth, native and over HTTP."""
    with tempfile.TemporaryDirectory(prefix="secretsd-bench-") as name:
        bed = Bed(Path(name), [HMAC])
        shim = Shim(Path(name))
        settings = {"module": os.fspath(shim.module), "sessions": _SESSIONS, "dispatch": "workers"}
        with bed.signer(settings, environment=shim.environment) as signer:
            shim.delay("C_Sign", _CALL_S)
            native = _typical(signing_load.native(signer.native, HMAC), seconds)
            http = _typical(signing_load.http(signer.http, HMAC, "any"), seconds)
    note = f"{_CLIENTS} clients, {_SESSIONS} sessions, HMAC"
    return [
        Figure("HSM of 1.5 ms a call, native: rate", native.rate, "/s", 9000, at_least=True, note=note),
        Figure("HSM of 1.5 ms a call, native: p99", native.p99_us / 1000, "ms", 20, note=note),
        Figure("HSM of 1.5 ms a call, HTTP: rate", http.rate, "/s", note=note),
        Figure("HSM of 1.5 ms a call, HTTP: p99", http.p99_us / 1000, "ms", note=note),
    ]


def _typical(target: Target, seconds: float) -> Load:
    """The middle one of some runs."""
    loads = [signing_load.run(target, Clients(_CLIENTS, seconds / _RUNS)) for _ in range(_RUNS)]
    if any(load.failed or load.refused for load in loads):
        raise SystemExit(f"not all was answered: {loads}")
    return sorted(loads, key=lambda load: load.rate)[_RUNS // 2]


if __name__ == "__main__":
    print(table(stand_in(float(sys.argv[1]) if len(sys.argv) > 1 else 4.0)))
