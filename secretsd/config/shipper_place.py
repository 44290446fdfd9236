"""Whether a shipper has anything to do on this host, and where it serves: read without pydantic.

`secretsctl health` asks it each time, and must not take a second to find out whom to ask.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from secretsd.config.disk import raw_files

SINKS = ("journal", "s3", "cloudwatch")  # the tables of [audit]
METRICS_SOCKET = Path("/run/secretsd-shipper/metrics.sock")


def shipper_socket(config: Path) -> Path | None:
    """The metrics socket of the shipper; None where no sink is configured, or nothing can be read."""
    audit: dict[str, object] = {}
    for _, content in raw_files(config, None, []):
        try:
            said = tomllib.loads(content.decode()).get("audit")
        except ValueError:
            return None
        audit |= said if isinstance(said, dict) else {}
    if audit.keys().isdisjoint(SINKS):
        return None
    place = audit.get("shipper_metrics_socket")
    return Path(place) if isinstance(place, str) else METRICS_SOCKET
