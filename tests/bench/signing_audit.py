"""What the audit trail adds to an HMAC of the signer: none, batched and strict, in one run.

    python -m tests.bench.signing_audit [SECONDS]

For batched, client and server share one processor, which spares them the wake-ups across: only work is left.
Strict waits for the writing thread and the disk, and has both processors, as has what it is compared with.
Each cell takes so many seconds (by default 2) and is the middle one of five.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.bench import signing_load
from tests.bench.figures import Figure, table
from tests.bench.signing import one_processor
from tests.bench.signing_bed import Bed
from tests.bench.signing_keys import HMAC
from tests.bench.signing_sheet import Sheet

SECONDS = 2.0
_MANY = 64
_NONE, _BATCHED, _STRICT = "no audit", "batched", "strict"
_LAUNCHERS = {_NONE: "tests.bench.signing_untold"}


def measure(seconds: float = SECONDS) -> list[Figure]:
    """Ratios: of what an answer takes with one client, of answers a second with many."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="audit-bench-") as name:
        Path(name).chmod(0o755)
        bed = Bed(Path(name), (HMAC,))
        with one_processor():
            alone = _filled(bed, Sheet((HMAC,), (1,), seconds), (_NONE, _BATCHED))
        both = _filled(bed, Sheet((HMAC,), (1, _MANY), seconds), (_NONE, _BATCHED, _STRICT))
    return [*_batched(alone), *_strict(both), *_many(both)]


def _filled(bed: Bed, sheet: Sheet, ways: tuple[str, ...]) -> Sheet:
    for way in ways:
        launcher = ("-m", _LAUNCHERS.get(way, "secretsd.signing"))
        audit = {"audit": _STRICT if way == _STRICT else _BATCHED}
        with bed.signer({"dispatch": "inline"}, audit, launcher=launcher) as signer:
            sheet.ask(way, lambda kind: signing_load.native(signer.native, kind))
    return sheet


def _batched(sheet: Sheet) -> list[Figure]:
    without_us, batched_us = (sheet.load(way, HMAC, 1).p50_us for way in (_NONE, _BATCHED))
    note = "p50, 1 client, on one processor"
    return [
        Figure("an HMAC without an audit log", without_us, "us", note=note),
        Figure("batched adds", batched_us - without_us, "us", note=note),
        Figure("batched, times without", batched_us / without_us, "", note=note),
    ]


def _strict(sheet: Sheet) -> list[Figure]:
    without_us, strict_us = (sheet.load(way, HMAC, 1).p50_us for way in (_NONE, _STRICT))
    note = "p50, 1 client, on two processors"
    return [
        Figure("an HMAC without an audit log", without_us, "us", note=note),
        Figure("strict adds", strict_us - without_us, "us", note=f"{note}; an fdatasync is in it"),
        Figure("strict, times without", strict_us / without_us, "", note=note),
    ]


def _many(sheet: Sheet) -> list[Figure]:
    rates = {way: sheet.load(way, HMAC, _MANY).rate for way in (_NONE, _BATCHED, _STRICT)}
    note = f"{_MANY} clients, who share fdatasyncs; {rates[_NONE]:.0f}/s without"
    return [
        Figure("batched, share of the rate without", rates[_BATCHED] / rates[_NONE], "", note=note),
        Figure("strict, share of the rate without", rates[_STRICT] / rates[_NONE], "", note=note),
    ]


if __name__ == "__main__":
    print(table(measure(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)))
