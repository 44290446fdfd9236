"""What the refresher has to say to monitors."""

from __future__ import annotations

from secretsd.config.models import Config
from secretsd.monitor import refresher_health, refresher_metrics
from secretsd.monitor.server import MonitorServer, Pages
from secretsd.monitor.sockets import Place, Sockets, port_of
from secretsd.refresh.conductor import Conductor


def monitor_of(conductor: Conductor) -> MonitorServer:
    """Its server, on the sockets of its configuration; `follow` goes along with changes of that."""
    pages = Pages(
        "refresher",
        metrics=lambda: refresher_metrics.sheet(conductor, refresher_health.checks(conductor)),
        checks=lambda: refresher_health.checks(conductor),
    )
    return MonitorServer(pages, Sockets(_places(conductor.config)))


async def follow(conductor: Conductor, monitor: MonitorServer) -> None:
    """Has `monitor` serve where the configuration says, for ever: after a reload perhaps elsewhere."""
    while True:
        await conductor.changes.next()
        monitor.sockets.adopt(_places(conductor.config))


def _places(config: Config) -> list[Place]:
    places: list[Place] = [config.metrics_socket]
    if config.metrics.listen is not None:
        places.append(port_of(config.metrics.listen))
    return places
