"""The signer's metrics: what it knows when it is asked, and has counted since it started."""

from __future__ import annotations

from collections.abc import Sequence

from secretsd.control.check import Check
from secretsd.monitor import catalogue
from secretsd.monitor.common import common_metrics, unusual
from secretsd.monitor.exposition import Sheet
from secretsd.signing.errors import KINDS
from secretsd.signing.house import House
from secretsd.signing.tally import BOUNDS_S, Tally


def sheet(house: House, checks: Sequence[Check]) -> Sheet:
    """All of them. About 20 samples for each operation that was asked of a key."""
    page, desk = common_metrics("signer", checks), house.desk
    _tally(page, desk.tally)
    unusual(page, desk.trail.detector)
    page.set(catalogue.QUEUE, desk.dispatcher.waiting)
    page.set(catalogue.UNDER_WAY, desk.under_way)
    page.set(catalogue.CONNECTIONS, len(house.slots))
    page.set(catalogue.TURNED_AWAY, sum(door.turned_away for door in house.doors))
    page.set(catalogue.TOKEN_UP, desk.trouble is None)
    page.set(catalogue.BREAKER_OPEN, not desk.token.breaker.is_closed)
    for name in desk.config.keys:
        is_up = desk.trouble is None and name in desk.token.keys and name not in desk.token.problems
        page.set(catalogue.KEY_UP, is_up, name)
    page.set(catalogue.AUDIT_RECORDS, house.audit.last_number)
    page.set(catalogue.AUDIT_LOST, house.audit.lost)
    page.set(catalogue.AUDIT_UP, house.audit.trouble is None)
    return page


def _tally(page: Sheet, tally: Tally) -> None:
    # A series that is not there before its first event hides that event from rate() and increase().
    for use in dict.fromkeys(each[:3] for each in tally.uses):
        for result in ("ok", "failed", "refused"):
            page.set(catalogue.REQUESTS, tally.uses[*use, result], *use, result)
    for code in KINDS:
        page.set(catalogue.REFUSALS, tally.refusals[code], code)
    for (key, operation), spread in tally.spreads.items():
        page.spread(catalogue.DURATION, BOUNDS_S, spread.counts, spread.sum_ns / 1e9, key, operation)
