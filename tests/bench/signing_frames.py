"""Mutated frames at the native socket: each is answered, nothing crashes, no descriptor stays open.

python -m tests.bench.signing_frames [FRAMES]

The HTTP socket has its own in tests/signing/http/test_fuzz.py.
"""

from __future__ import annotations

import os
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from secretsd.signing import errors, frame
from tests.bench import signing_load
from tests.bench.figures import Figure, table
from tests.bench.signing_bed import Bed, Running
from tests.bench.signing_keys import ED25519, HMAC, KINDS, P256, RSA, SECP256K1, SigningKind

FRAMES = 1_000_000
_PLANTED_FRAMES = 3000
_AT_ONCE = 32  # frames under way on a connection
_OF_A_CONNECTION = 2000
_PATIENCE_S = 4.0
_BUG = errors.KINDS["bug"].number
_MALFORMED = errors.KINDS["malformed-request"].number
_PLANT = """
import os
from secretsd.signing import frame
from secretsd.signing.__main__ import main
decode = frame.decode_request
def planted(data):
    if data[0] == 2:
        HARM
    return decode(data)
frame.decode_request = planted
main()
"""
# What HARM stands for: done to a frame whose version is 2.
_PLANTED = {
    "crash": "raise KeyError('planted')",
    "end": "os._exit(1)",
    "leak": "os.dup(2)",
}


@dataclass(slots=True)
class Found:
    """What came back, by the answers' numbers (0: done), and the harm that was done."""

    answers: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    is_dead: bool = False
    tracebacks: int = 0
    left_open: int = 0

    @property
    def crashes(self) -> int:
        return self.unanswered + self.is_dead + self.tracebacks + self.answers[_BUG]


def frames(count: int = FRAMES) -> list[Figure]:
    """Crashes and descriptors, half inline, half by workers.

    Raises SystemExit where a planted instance of either is not found.
    """
    with tempfile.TemporaryDirectory(prefix="secretsd-frames-") as name:
        bed = Bed(Path(name), KINDS)
        _see_planted(bed)
        began = time.monotonic()
        both = []
        for seed, dispatch in enumerate(("inline", "workers")):
            with bed.signer({"dispatch": dispatch}) as signer:
                both.append(fuzz(signer, count // 2, seed))
    note = f"in {time.monotonic() - began:.0f} s; {_kinds(both, count)}; planted ones were found"
    crashes, left_open = (sum(found.crashes for found in both), sum(found.left_open for found in both))
    return [
        Figure(f"{count:,} mutated frames: crashes", crashes, "", 0, exactly=True, note=note),
        Figure(f"{count:,} mutated frames: descriptors left open", left_open, "", 0, exactly=True),
    ]


def _kinds(both: list[Found], count: int) -> str:
    """What became of them. Raises SystemExit where all is done, or nothing."""
    done, malformed = (sum(found.answers[number] for found in both) / count for number in (0, _MALFORMED))
    if done < 0.1 or malformed < 0.1:
        raise SystemExit(f"{done:.0%} were done, {malformed:.0%} malformed: the mutations show little")
    return f"{done:.0%} done, {malformed:.0%} malformed, the rest refused"


def _see_planted(bed: Bed) -> None:
    for name, harm in _PLANTED.items():
        with bed.signer({"dispatch": "inline"}, launcher=("-c", _PLANT.replace("HARM", harm))) as signer:
            found = fuzz(signer, _PLANTED_FRAMES, 2)
        if not (found.left_open if name == "leak" else found.crashes):
            raise SystemExit(f"a planted {name} was not found: nothing is shown by what is not found")


def fuzz(signer: Running, count: int, seed: int) -> Found:
    """Sends so many, until one is not answered."""
    chance = random.Random(seed)
    found = Found()
    before = _settled(signer, 0)
    left = count
    while left > 0 and not found.unanswered:
        _talk(signer, chance, min(left, _OF_A_CONNECTION), found)
        left -= _OF_A_CONNECTION
    found.is_dead = not signer.is_alive
    if not found.is_dead:
        found.left_open = _settled(signer, before) - before
    found.tracebacks = signer.log.read_text().count("Traceback")
    return found


def _settled(signer: Running, expected: int) -> int:
    """How many descriptors are open, once the signer had a second to close those of hung-up connections."""
    until = time.monotonic() + 1.0
    while signer.is_alive and (count := signer.descriptors) > expected and time.monotonic() < until:
        time.sleep(0.05)
    return count if signer.is_alive else expected


def _talk(signer: Running, chance: random.Random, count: int, found: Found) -> None:
    """Frames over one connection, some with descriptors that nobody wants; the last answer stays unread."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(_PATIENCE_S)
        try:
            client.connect(os.fspath(signer.native))
            for start in range(0, count, _AT_ONCE):
                at_once = min(_AT_ONCE, count - start)
                for _ in range(at_once):
                    _send(client, mutated(chance), chance)
                for _ in range(at_once):
                    found.answers[client.recv(frame.MAX_FRAME_BYTES * 2)[1]] += 1
            client.send(mutated(chance))
        except (OSError, IndexError):
            found.unanswered += 1


def _send(client: socket.socket, data: bytes, chance: random.Random) -> None:
    if chance.random() < 0.01:
        socket.send_fds(client, [data], [client.fileno()] * chance.choice((1, 2, 100)))
    else:
        client.send(data)


# Mutations --------------------------------------------------------------------------------------------------


def _seeds() -> Iterator[bytes]:
    for kind in (HMAC, P256, SECP256K1, ED25519, RSA):
        # Slow ones are seldom, and cheap ones often.
        yield from [signing_load.native_request(kind, kind.name)] * (8 if kind is HMAC else 1)
        yield _asking(2, kind, check=b"\x30\x06\x02\x01\x01\x02\x01\x01")
        if kind is not HMAC:
            yield _asking(4, kind)
    yield _asking(2, HMAC, flags=2, check=bytes(32))
    yield _asking(1, P256, flags=1)
    yield _asking(5, HMAC, associated=b"associated")
    yield _asking(6, HMAC)


def _asking(
    operation: int, kind: SigningKind, *, flags: int = 0, check: bytes = b"", associated: bytes = b""
) -> bytes:
    lengths = (len(kind.name), -1, 0, len(associated), len(check))
    head = frame._HEAD.pack(frame.VERSION, operation, flags, 0, 0, *lengths, 7, 0)
    return head + kind.name.encode() + associated + check + bytes(64)


_SEEDS = list(_seeds())
_PIECES = (b"\0", b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"hmac", bytes(300), b"A" * 70_000)


def mutated(chance: random.Random) -> bytes:
    """Never empty, which would be the end of the connection. An eighth stays as it was."""
    data = bytearray(chance.choice(_SEEDS))
    for _ in range(chance.choice((0, 1, 1, 1, 1, 2, 3, 8))):
        # Half of them hit the head, where the meaning is.
        at = chance.randrange(frame.HEAD_BYTES if chance.random() < 0.5 else len(data) + 1)
        match chance.randrange(6):
            case 0 | 1:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 2 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 3:
                del data[at : at + chance.choice((1, 2, 4, 40))]
            case 4:
                data[at:at] = chance.choice(_PIECES[:-1] if chance.random() < 0.98 else _PIECES)
            case _:
                data[at : at + 4] = chance.choice((b"\0\0\0\0", b"\0\0\0\1", b"\xff\xff\xff\xff"))
    return bytes(data) or b"\0"


if __name__ == "__main__":
    print(table(frames(int(sys.argv[1]) if len(sys.argv) > 1 else FRAMES)))
