"""What the signer has to say to monitors."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from secretsd.monitor import signer_health, signer_metrics
from secretsd.monitor.server import MonitorServer, Pages
from secretsd.monitor.sockets import Sockets
from secretsd.signing.house import House


def monitor_of(house: House, passed: Sequence[socket.socket], own: Path) -> MonitorServer:
    """Its server, on the sockets that systemd has `passed`, or else on one at `own`."""
    pages = Pages(
        "signer",
        metrics=lambda: signer_metrics.sheet(house, signer_health.checks(house.desk, house.pruner)),
        checks=lambda: signer_health.checks(house.desk, house.pruner),
    )
    return MonitorServer(pages, Sockets((), passed) if passed else Sockets((own,)))
