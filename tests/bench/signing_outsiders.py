"""Users without a right ask for signatures, again and again: none may come out.

python -m tests.bench.signing_outsiders [ATTEMPTS]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench import signing_load
from tests.bench.figures import Figure, table
from tests.bench.signing_bed import Bed, Running
from tests.bench.signing_keys import HMAC, P256
from tests.bench.signing_load import Clients, Load, Target

ATTEMPTS = 100_000  # of each user
_PERMITTED_USER, _PERMITTED = "nobody", 65534
_OUTSIDERS = (0, 1, 65533)  # root needs an entry as everybody does
_CLIENTS = 4
_UP_S = 20.0
# A connection of the permitted user, used by a child that is another: its frames are that child's.
_INHERITED = """
import json, os, socket, sys
permitted, uid, count, path, frame = json.loads(sys.argv[1])
frame = bytes.fromhex(frame)
client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
os.setgroups([]); os.setegid(permitted); os.seteuid(permitted)
client.connect(path)
os.seteuid(0); os.setegid(0)
def signed():
    client.send(frame)
    return client.recv(70000)[1] == 0
if not signed():
    sys.exit("the permitted user is refused")
found, told = os.pipe()
if os.fork() == 0:
    os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
    os.write(told, b"%d" % sum(signed() for _ in range(count)))
    os._exit(0)
os.close(told)
os.wait()
print(os.read(found, 20).decode())
"""


def outsiders(attempts: int = ATTEMPTS) -> list[Figure]:
    """Signatures that each user got who should have none, over both sockets and by another's connection."""
    with tempfile.TemporaryDirectory(prefix="secretsd-outsiders-") as name:
        bed = Bed(Path(name), [HMAC, P256])
        with bed.signer({"dispatch": "inline"}, {"allow": [{"user": _PERMITTED_USER}]}) as signer:
            targets = list(_targets(signer))
            _see_permitted(targets)
            return [_attempts(signer, targets, uid, attempts) for uid in _OUTSIDERS]


def _targets(signer: Running) -> Iterator[Target]:
    for kind in (HMAC, P256):
        yield signing_load.native(signer.native, kind)
        yield signing_load.http(signer.http, kind, "root")


def _see_permitted(targets: list[Target]) -> None:
    """The very requests of the outsiders bring a signature to who may have one."""
    until = time.monotonic() + _UP_S
    for target in targets:
        # The others are refused before the token is there, so that this is the first who needs it.
        while not signing_load.run(target, Clients(1, count=1, uid=_PERMITTED)).done:
            if time.monotonic() > until:
                raise SystemExit(f"the permitted user is refused ({target.mode}): the others show nothing")


def _attempts(signer: Running, targets: list[Target], uid: int, attempts: int) -> Figure:
    ways = len(targets) + 1
    each = attempts // (ways * _CLIENTS)
    loads = [signing_load.run(target, Clients(_CLIENTS, count=each, uid=uid)) for target in targets]
    by_inheritance = each * _CLIENTS
    signatures = _over_an_inherited_connection(signer, uid, by_inheritance) + sum(load.done for load in loads)
    tried = by_inheritance + sum(map(_answered, loads))
    if tried != ways * each * _CLIENTS:
        raise SystemExit(f"{ways * each * _CLIENTS - tried} of uid {uid}'s attempts were not answered")
    note = f"{tried} attempts, native, HTTP, and on a connection that uid {_PERMITTED}, who may, has made"
    return Figure(f"signatures for uid {uid}, who has no right", signatures, "", 0, exactly=True, note=note)


def _answered(load: Load) -> int:
    return load.done + load.refused


def _over_an_inherited_connection(signer: Running, uid: int, count: int) -> int:
    request = signing_load.native_request(HMAC, HMAC.name).hex()
    # Not root's own child: root is an outsider itself, and the process that connected counts as who it was.
    words = json.dumps([_PERMITTED, uid, count, os.fspath(signer.native), request])
    done = subprocess.run(
        [sys.executable, "-Ic", _INHERITED, words], stdout=subprocess.PIPE, text=True, check=True
    )
    return int(done.stdout)


if __name__ == "__main__":
    print(table(outsiders(int(sys.argv[1]) if len(sys.argv) > 1 else ATTEMPTS)))
