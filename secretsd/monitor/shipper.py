"""What the shipper has to say to monitors."""

from __future__ import annotations

import time
from collections.abc import Callable

from secretsd.config.audit import Audit
from secretsd.control.check import Check
from secretsd.monitor import shipper_health, shipper_metrics
from secretsd.monitor.common import log_check
from secretsd.monitor.exposition import Sheet
from secretsd.monitor.server import MonitorServer, Pages
from secretsd.monitor.sockets import Place, Sockets, port_of


def monitor_of(
    audit: Audit, report: Callable[[], shipper_health.Document], refused: Callable[[], str]
) -> MonitorServer:
    """Its server, on the sockets of `audit`.

    `report` makes its document, `refused` says what was wrong with a configuration that it did not take.
    """

    def checks(said: shipper_health.Document) -> list[Check]:
        return [*shipper_health.checks(said, refused()), *log_check(time.monotonic())]

    def metrics() -> Sheet:
        said = report()
        return shipper_metrics.sheet(said, checks(said), refused())

    pages = Pages("shipper", metrics, lambda: checks(report()))
    return MonitorServer(pages, Sockets(places_of(audit)))


def places_of(audit: Audit) -> list[Place]:
    """Where it serves: for `adopt` after a reload."""
    places: list[Place] = [audit.shipper_metrics_socket]
    if audit.shipper_metrics_listen is not None:
        places.append(port_of(audit.shipper_metrics_listen))
    return places
