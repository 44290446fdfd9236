"""What the audit trail adds to an HMAC of the signer: none, batched and strict, in one run.

    python -m tests.bench.signing_audit [SECONDS]

Client and server share one processor with one client, which spares them the wake-ups across: what is left is
work, and for strict the disk. Each cell takes so many seconds (by default 2) and is the middle one of five.
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
            alone = _filled(bed, Sheet((HMAC,), (1,), seconds))
        many = _filled(bed, Sheet((HMAC,), (_MANY,), seconds))
    return [*_alone(alone), *_many(many)]


def _filled(bed: Bed, sheet: Sheet) -> Sheet:
    for way in (_NONE, _BATCHED, _STRICT):
        launcher = ("-m", _LAUNCHERS.get(way, "secretsd.signing"))
        audit = {"audit": _STRICT if way == _STRICT else _BATCHED}
        with bed.signer({"dispatch": "inline"}, audit, launcher=launcher) as signer:
            sheet.ask(way, lambda kind: signing_load.native(signer.native, kind))
    return sheet


def _alone(sheet: Sheet) -> list[Figure]:
    p50_us = {way: sheet.load(way, HMAC, 1).p50_us for way in (_NONE, _BATCHED, _STRICT)}
    note = "p50 of an HMAC, 1 client, on one processor"
    return [
        Figure("without an audit log", p50_us[_NONE], "us", note=note),
        Figure("batched adds", p50_us[_BATCHED] - p50_us[_NONE], "us", note=note),
        Figure("batched, times without", p50_us[_BATCHED] / p50_us[_NONE], ""),
        Figure("strict adds", p50_us[_STRICT] - p50_us[_NONE], "us", note="an fdatasync is in it"),
        Figure("strict, times without", p50_us[_STRICT] / p50_us[_NONE], ""),
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
