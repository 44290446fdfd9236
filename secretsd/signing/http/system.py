"""The few paths outside Transit that clients of OpenBao ask on their way."""

from __future__ import annotations

import time
from typing import Any

from secretsd import __version__
from secretsd.signing.desk import Desk
from secretsd.signing.http import envelope
from secretsd.signing.http.exchange import Exchange

_SEALED = 503  # what OpenBao answers while no key can be used; load balancers and `bao` know it


def health(desk: Desk, exchange: Exchange) -> None:
    """200 while the token works. Sealed is what OpenBao calls a server that has no use of its keys."""
    trouble = desk.trouble
    content: dict[str, Any] = {
        "initialized": True,
        "sealed": trouble is not None,
        "standby": False,
        "replication_performance_mode": "disabled",
        "replication_dr_mode": "disabled",
        "server_time_utc": int(time.time()),
        "version": __version__,
        "cluster_name": "secretsd-signer",
        "cluster_id": "",
    }
    if trouble is None:
        exchange.respond(envelope.bare(content))
        return
    word = f"X-Secretsd-Error: {trouble.code}\r\n".encode()
    exchange.respond(envelope.bare(content, status=_SEALED)._replace(headers=word))


def seal_status(desk: Desk, exchange: Exchange) -> None:
    """For `bao status`."""
    exchange.respond(
        envelope.bare(
            {
                "type": "pkcs11",
                "initialized": True,
                "sealed": desk.trouble is not None,
                "t": 0,
                "n": 0,
                "progress": 0,
                "nonce": "",
                "recovery_seal": False,
                "version": __version__,
                "commit_date": "",
                "migration": False,
                "cluster_name": "secretsd-signer",
                "cluster_id": "",
                "storage_type": "pkcs11",
            }
        )
    )


def leader(_: Desk, exchange: Exchange) -> None:
    """For `bao status`, too: there is one server, and no other to lead."""
    exchange.respond(envelope.bare({"ha_enabled": False}))


def lookup_self(_: Desk, exchange: Exchange) -> None:
    """Who asks is known from the socket; a token that came along is not looked at."""
    peer = exchange.caller.peer
    content: dict[str, Any] = {
        "accessor": "",
        "creation_time": 0,
        "creation_ttl": 0,
        "display_name": peer.unit or f"uid {peer.uid}",
        "entity_id": "",
        "expire_time": None,
        "explicit_max_ttl": 0,
        "id": "",
        "meta": {"uid": str(peer.uid), "unit": peer.unit or ""},
        "num_uses": 0,
        "orphan": True,
        "path": "",
        "policies": [],
        "renewable": False,
        "ttl": 0,
        "type": "service",
    }
    exchange.respond(envelope.data(content))
