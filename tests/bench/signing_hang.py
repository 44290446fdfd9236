"""A call of the token that hangs: what the other keys notice, and how soon the signer is itself again.

python -m tests.bench.signing_hang [SECONDS]
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from secretsd.errors import ExitCode
from tests.bench import signing_load
from tests.bench.figures import Figure, table
from tests.bench.signing_bed import Bed, Running
from tests.bench.signing_keys import HMAC
from tests.bench.signing_load import Clients
from tests.signing.shim import Shim

HANG_S = 3.0
_HANGING = "hanging"
_SESSIONS = 8
_OTHERS = 8
_LIMIT_S = 1.0
_FOR_EVER_S = 600.0
_UNIT = Path(__file__).resolve().parents[2] / "systemd/secretsd-signer.service"


def hang(hang_s: float = HANG_S) -> list[Figure]:
    """Both figures; the key that hangs is asked by more clients than there are sessions."""
    with tempfile.TemporaryDirectory(prefix="secretsd-hang-") as name:
        bed = Bed(Path(name), [HMAC], copies=[_HANGING])
        shim = Shim(Path(name))
        shim.only(_HANGING)
        return [*_beside(bed, shim, hang_s), *_after(bed, shim)]


def _beside(bed: Bed, shim: Shim, hang_s: float) -> list[Figure]:
    with bed.signer(_settings(shim, 10), environment=shim.environment) as signer:
        shim.delay("C_Sign", hang_s)
        hanging = signing_load.start(
            signing_load.native(signer.native, HMAC, _HANGING), Clients(_SESSIONS * 2, count=1)
        )
        time.sleep(0.3)
        others = signing_load.run(
            signing_load.native(signer.native, HMAC), Clients(_OTHERS, max(0.5, hang_s - 0.5))
        )
        hung = signing_load.finish(hanging)
    if hung.p50_us < hang_s * 1e6:
        raise SystemExit("the calls that were to hang did not")
    refused = others.refused + others.failed
    note = f"{_SESSIONS} sessions, {_SESSIONS * 2} clients of the key that hangs, {_OTHERS} of the other"
    spread = f"p50 {others.p50_us / 1000:.2f} ms, worst {others.worst_us / 1000:.1f} ms, {others.rate:.0f}/s"
    return [
        Figure(
            f"calls that hang {hang_s:.0f} s: p99 of other keys", others.p99_us / 1000, "ms", 50, note=spread
        ),
        Figure(f"calls that hang {hang_s:.0f} s: refused to other keys", refused, "", 0, True, note=note),
    ]


def _after(bed: Bed, shim: Shim) -> list[Figure]:
    """From the limit to another key's answer, by the process that systemd would start."""
    shim.delay("C_Sign", _FOR_EVER_S)
    config = bed.configure("hang-limit", _settings(shim, _LIMIT_S), {})
    first = bed.launch(config, shim.environment)
    try:
        first.wait()
        began = time.monotonic()
        with _asked(first):
            code = first.process.wait(_LIMIT_S + 10)
        ended_s = time.monotonic() - began - _LIMIT_S
        time.sleep(_restart_s())
        second = bed.launch(config, shim.environment)
        try:
            second.wait()
            again_s = time.monotonic() - began - _LIMIT_S
        finally:
            _end(second.process)
    finally:
        _end(first.process)
    if code != ExitCode.UNAVAILABLE:
        raise SystemExit(f"the signer ended with {code}, not by its limit")
    note = f"hang_limit = {_LIMIT_S:.0f}s; the process ended {ended_s * 1000:.0f} ms after it"
    return [
        Figure(
            "a call that hangs for ever: from the limit to other keys' answers", again_s, "s", 2, note=note
        )
    ]


def _restart_s() -> float:
    """How long systemd waits before it starts the signer anew."""
    found = re.search(r"^RestartSec=([0-9]+)ms$", _UNIT.read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit(f"{_UNIT}: RestartSec is not in milliseconds")
    return int(found[1]) / 1000


def _settings(shim: Shim, limit_s: float) -> dict[str, object]:
    return {
        "module": os.fspath(shim.module),
        "sessions": _SESSIONS,
        "dispatch": "workers",
        "hang_limit": f"{limit_s:.0f}s",
    }


def _asked(signer: Running) -> socket.socket:
    """A connection that has asked for what hangs."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect(os.fspath(signer.native))
    client.send(signing_load.native_request(HMAC, _HANGING))
    return client


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


if __name__ == "__main__":
    print(table(hang(float(sys.argv[1]) if len(sys.argv) > 1 else HANG_S)))
