"""Who may read metrics and health from the socket. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from secretsd.signing.model import Peer

METRICS_GROUP = "secretsd-metrics"


@dataclass(frozen=True, slots=True)
class Readers:
    """Root, the daemon's own user, and the members of these groups."""

    daemon_uid: int
    groups: frozenset[int]

    def include(self, peer: Peer) -> bool:
        return peer.uid in (0, self.daemon_uid) or not self.groups.isdisjoint(peer.gids)
