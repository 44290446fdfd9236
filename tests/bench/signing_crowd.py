"""A crowd of idle connections of one user, and how an honest peer of another fares meanwhile.

python -m tests.bench.signing_crowd [CONNECTIONS]
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench import signing_load
from tests.bench.figures import Figure, table
from tests.bench.signing_bed import Bed, Running
from tests.bench.signing_keys import HMAC
from tests.bench.signing_load import Clients, Load

CONNECTIONS = 10_000
_HOSTILE_UID = 65534
_SECONDS = 5.0
# Half of them at each socket. Those that were turned away stay open at this end. Ends with its stdin.
_CROWD = """
import json, os, resource, select, socket, sys
uid, count, *paths = json.loads(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 64, count + 64))
os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
crowd = []
for number in range(count):
    kind = (socket.SOCK_SEQPACKET, socket.SOCK_STREAM)[number % 2]
    crowd.append(socket.socket(socket.AF_UNIX, kind)); crowd[-1].connect(paths[number % 2])
print("made", flush=True)
sys.stdin.read()
poll = select.poll()
for each in crowd:
    poll.register(each, select.POLLIN)
print(count - len(poll.poll(0)))
"""


def crowd(connections: int = CONNECTIONS, seconds: float = _SECONDS) -> list[Figure]:
    """What the honest peer waits for at most, on one connection and on a new one for each request."""
    with tempfile.TemporaryDirectory(prefix="secretsd-crowd-") as name:
        bed = Bed(Path(name), [HMAC])
        with bed.signer({"dispatch": "workers"}) as signer:
            coming_s, let_in, loads = _beside_a_crowd(signer, connections, seconds)
    if not 0 < let_in < connections:
        raise SystemExit(f"{let_in} of {connections} were let in: this is no crowd that is held back")
    refused = sum(load.refused + load.failed for load in loads)
    note = f"{connections} idle of one user, who came in {coming_s:.1f} s; {let_in} let in; 2 honest clients"
    honest, newcomer = loads
    return [
        Figure(
            "hostile connections: requests refused to the honest", refused, "", 0, exactly=True, note=note
        ),
        Figure("hostile connections: p99 of the honest", honest.p99_us / 1000, "ms", 50, note=_of(honest)),
        Figure(
            "hostile connections: p99 with a new connection each",
            newcomer.p99_us / 1000,
            "ms",
            50,
            note=_of(newcomer),
        ),
    ]


def _beside_a_crowd(signer: Running, connections: int, seconds: float) -> tuple[float, int, list[Load]]:
    """How long they took to come, how many were let in, and what the honest saw from before they came."""
    target = signing_load.native(signer.native, HMAC)
    honest = [signing_load.start(target, Clients(1, seconds, reconnects=each)) for each in (False, True)]
    time.sleep(0.3)
    began = time.monotonic()
    with _coming(signer, connections) as hostile:
        assert hostile.stdout is not None
        if not hostile.stdout.readline():
            raise SystemExit("the crowd did not come: see above")
        coming_s = time.monotonic() - began
        loads = [signing_load.finish(each) for each in honest]
        stayed, _ = hostile.communicate()
    return coming_s, int(stayed), loads


@contextlib.contextmanager
def _coming(signer: Running, connections: int) -> Iterator[subprocess.Popen[str]]:
    words = json.dumps([_HOSTILE_UID, connections, str(signer.native), str(signer.http)])
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-Ic", _CROWD, words], stdin=pipe, stdout=pipe, text=True
    ) as hostile:
        try:
            yield hostile
        finally:
            hostile.kill()


def _of(load: Load) -> str:
    return f"p50 {load.p50_us / 1000:.2f} ms, worst {load.worst_us / 1000:.1f} ms, {load.rate:.0f}/s"


if __name__ == "__main__":
    print(table(crowd(int(sys.argv[1]) if len(sys.argv) > 1 else CONNECTIONS)))
