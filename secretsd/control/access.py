"""Who may do what on the control socket. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from secretsd.signing.model import Peer

ADMIN_GROUP = "secretsd-admin"

# What a bundle's owner may do with that bundle.
OWNER_COMMANDS = frozenset({"wait", "status", "ack"})


@dataclass(frozen=True, slots=True)
class Admins:
    """Who may do everything: root, the daemon's own user, the group secretsd-admin where there is one."""

    daemon_uid: int
    group: int | None

    def include(self, peer: Peer) -> bool:
        return peer.uid in (0, self.daemon_uid) or (self.group is not None and self.group in peer.gids)


def is_allowed(command: str, *, peer: Peer, admins: Admins, owner_uid: int | None) -> bool:
    """Whether `peer` may run `command` on a bundle whose owner is `owner_uid` (None: no such bundle)."""
    return admins.include(peer) or (
        command in OWNER_COMMANDS and owner_uid is not None and peer.uid == owner_uid
    )
