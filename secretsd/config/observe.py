"""The table `[metrics]`: where monitors find the refresher."""

# Without `from __future__ import annotations`: pydantic reads the annotations when the classes are made.
from pydantic import Field

from secretsd.config.fields import LoopbackPort, SocketPath
from secretsd.config.table import Table

METRICS_SOCKET_NAME = "metrics.sock"


class Metrics(Table):
    """Where metrics (/metrics) and health (/healthz, /readyz) are served, over HTTP.

    A reload applies changes: the places of before are served until all new ones can be had.
    secretsd-signer serves its own on `metrics_socket` in [signer].
    """

    socket: SocketPath | None = Field(
        default=None,
        description="The Unix socket for root and the members of the groups secretsd-metrics and"
        " secretsd-admin; by default metrics.sock in `runtime_dir` of [daemon].",
        examples=["/run/secretsd/metrics.sock"],
    )
    listen: LoopbackPort | None = Field(
        default=None,
        description="An address of the loopback with a port, for a Prometheus on this host, which cannot read"
        " a Unix socket. Every process of the host can then read the names of bundles, secrets and units.",
        examples=["127.0.0.1:9478", "[::1]:9478"],
    )
