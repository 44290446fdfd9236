"""The shipper's metrics, by its own report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from secretsd.control.check import Check
from secretsd.monitor import catalogue
from secretsd.monitor.common import common_metrics
from secretsd.monitor.exposition import Sheet

Document = Mapping[str, Any]

_OF_CHAINS = (
    (catalogue.SHIPPED, "records"),
    (catalogue.SHIP_REFUSED, "refused"),
    (catalogue.SHIP_MISSING, "missing"),
    (catalogue.SHIP_FLAWS, "flaws"),
    (catalogue.ANCHORS, "anchors"),
    (catalogue.WAITING_BYTES, "waiting_bytes"),
    (catalogue.LAG_RECORDS, "waiting_records"),
    (catalogue.LAG, "waiting_s"),
    (catalogue.UNANCHORED, "unanchored_s"),
    (catalogue.LAST_ANCHOR, "last_anchor"),
)


def sheet(document: Document, checks: Sequence[Check], refused_configuration: str) -> Sheet:
    """All of them."""
    page = common_metrics("shipper", checks)
    page.set(catalogue.CONFIG_REFUSED, bool(refused_configuration))
    for sink in document["sinks"]:
        _sink(page, sink)
    for trail in document["trails"]:
        page.set(catalogue.TRAIL_BYTES, trail["bytes"], trail["daemon"])
        page.set(catalogue.TRAIL_FREE, trail["free_bytes"], trail["daemon"])
    return page


def _sink(page: Sheet, sink: Document) -> None:
    name = sink["name"]
    page.set(catalogue.BATCH_AGE, sink["batch_age_s"], name)
    if sink["failure"] is not None:
        page.set(catalogue.SINK_FAILING, 1, name, sink["failure"]["code"])
    if sink["last_success"] is not None:
        page.set(catalogue.LAST_SUCCESS, sink["last_success"], name)
    for chain in sink["chains"]:
        for metric, key in _OF_CHAINS:
            if chain[key] is not None:
                page.set(metric, chain[key], name, chain["daemon"])
