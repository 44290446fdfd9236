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
from tests.bench.signing_bed import Bed, Running, me
from tests.bench.signing_keys import HMAC
from tests.bench.signing_load import Clients, Load, Target

CONNECTIONS = 10_000
_HOSTILE_USER, _HOSTILE_UID = "nobody", 65534
_SECONDS = 5.0
_GOAL_MS = 50  # beside an idle crowd
_ONE_MORE = Clients(1, count=1, uid=_HOSTILE_UID, reconnects=True)
_GONE_S = 10.0
# Half of them at each socket. Those that were turned away stay open at this end, or with `insists` they come
# back at once. Ends with its stdin, and tells how many made a connection in all, and how many are let in.
_CROWD = """
import json, os, resource, select, socket, sys, time
uid, count, insists, *paths = json.loads(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 64, count + 64))
os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
made = 0
def connected():
    global made
    kind = (socket.SOCK_SEQPACKET, socket.SOCK_STREAM)[made % 2]
    client = socket.socket(socket.AF_UNIX, kind); client.connect(paths[made % 2])
    made += 1
    return client
def turned_away():
    poll = select.poll()
    for each in crowd:
        poll.register(each, select.POLLIN)
    return {number for number, _ in poll.poll(0)}
crowd = [connected() for _ in range(count)]
print("made", flush=True)
while insists and not select.select([sys.stdin], [], [], 0)[0]:
    gone = turned_away()
    for place, each in enumerate(crowd):
        if each.fileno() in gone:
            each.close()
            crowd[place] = connected()
sys.stdin.read()
time.sleep(1)  # for those who still wait at the door
print(json.dumps([made, count - len(turned_away())]))
"""


def crowd(connections: int = CONNECTIONS, seconds: float = _SECONDS) -> list[Figure]:
    """What honest users wait for at most beside a crowd that is idle, and one that does not give up."""
    allow = [{"user": me()}, {"user": _HOSTILE_USER}]
    with tempfile.TemporaryDirectory(prefix="secretsd-crowd-") as name:
        bed = Bed(Path(name), [HMAC])
        with bed.signer({"dispatch": "workers"}, {"allow": allow}) as signer:
            return [
                *_beside_a_crowd(signer, connections, seconds, insists=False),
                *_beside_a_crowd(signer, connections, seconds, insists=True),
            ]


def _beside_a_crowd(signer: Running, connections: int, seconds: float, *, insists: bool) -> list[Figure]:
    """The honest began before the crowd came: one on one connection, one with a new one for each request."""
    target = signing_load.native(signer.native, HMAC)
    _see_let_in(target)
    honest = [signing_load.start(target, Clients(1, seconds, reconnects=each)) for each in (False, True)]
    time.sleep(0.3)
    with _coming(signer, connections, insists=insists) as hostile:
        assert hostile.stdout is not None
        if not hostile.stdout.readline():
            raise SystemExit("the crowd did not come: see above")
        one_more = signing_load.run(target, _ONE_MORE)
        loads = [signing_load.finish(each) for each in honest]
        told, _ = hostile.communicate()
    if one_more.done:
        raise SystemExit("the crowd's own user was not turned away: nothing is shown by the others")
    made, let_in = json.loads(told)
    what = f"{connections} {'insistent' if insists else 'idle'}"
    return _figures(what, f"{made} came, {let_in} let in", loads, None if insists else _GOAL_MS)


def _see_let_in(target: Target) -> None:
    """The crowd's user may sign before the crowd is there, and again once the last one has gone."""
    until = time.monotonic() + _GONE_S
    while not signing_load.run(target, _ONE_MORE).done:
        if time.monotonic() > until:
            raise SystemExit("the crowd's own user is turned away without a crowd")


def _figures(crowd: str, note: str, loads: list[Load], goal_ms: float | None) -> list[Figure]:
    refused = sum(load.refused + load.failed for load in loads)
    on_one, on_new = loads
    return [
        Figure(f"{crowd} connections: requests refused to others", refused, "", 0, exactly=True, note=note),
        Figure(f"{crowd}: p99 of another user", on_one.p99_us / 1000, "ms", goal_ms, note=_of(on_one)),
        Figure(f"{crowd}: p99, each a new connection", on_new.p99_us / 1000, "ms", goal_ms, note=_of(on_new)),
    ]


@contextlib.contextmanager
def _coming(signer: Running, connections: int, *, insists: bool) -> Iterator[subprocess.Popen[str]]:
    words = json.dumps([_HOSTILE_UID, connections, insists, str(signer.native), str(signer.http)])
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
