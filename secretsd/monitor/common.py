"""What both daemons say of themselves."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence

import secretsd
from secretsd import logs
from secretsd.audit.pruning import Pruner
from secretsd.control.check import Check, ok, warn
from secretsd.monitor import catalogue, health
from secretsd.monitor.exposition import Sheet
from secretsd.unusual.detector import Detector
from secretsd.unusual.findings import KINDS

_STARTED = time.time()
DROPS_COUNT_S = 60.0  # a log that lost a record is well again when it has lost none for this long


def common_metrics(daemon: str, checks: Sequence[Check]) -> Sheet:
    """A sheet that begins with them."""
    sheet = Sheet()
    sheet.set(catalogue.BUILD, 1, daemon, secretsd.__version__)
    sheet.set(catalogue.STARTED, _STARTED)
    sheet.set(catalogue.READY, health.word(checks) != "not ready")
    counts = Counter(check.state for check in checks)
    for state in ("ok", "warn", "fail"):
        sheet.set(catalogue.CHECKS, counts[state], state)
    sheet.set(catalogue.LOG_DROPPED, logs.dropped_records())
    return sheet


def trail_check(pruner: Pruner) -> Iterator[Check]:
    """Only where a file of the trail stays against the rule."""
    if pruner.problem:
        yield warn(
            "audit files", pruner.problem, "make room, or see secretsctl doctor and secretsctl log --verify"
        )


def unusual(page: Sheet, detector: Detector) -> None:
    """What was found unusual, each kind from the start: the first finding must be an increase."""
    for kind in KINDS:
        page.set(catalogue.UNUSUAL, detector.counts[kind], kind)


def log_check(now: float) -> Iterator[Check]:
    """`now` is monotonic, in seconds."""
    if now - logs.last_dropped_at() < DROPS_COUNT_S:
        dropped = logs.dropped_records()
        yield warn("log", f"{dropped} log records were dropped", "systemctl status systemd-journald")
    else:
        yield ok("log", "nothing was dropped in the last minute")
