"""Peers and configurations for the tests of who may do what."""

from __future__ import annotations

from typing import Any

from secretsd.config.signer import Signer
from secretsd.signing.authorize import Ids, Policy
from secretsd.signing.model import Peer

BOT, TREASURY, OTHER, ADMIN_GID, TRADERS_GID = 1001, 1002, 65534, 77, 88
IDS = Ids(
    uids={"bot": BOT, "treasury": TREASURY, "root": 0},
    gids={"secretsd-admin": ADMIN_GID, "traders": TRADERS_GID},
)
UNIT = "trading-bot.service"


def peer(uid: int, *gids: int, unit: str | None = None, pid: int = 42) -> Peer:
    return Peer(pid, uid, frozenset({uid, *gids}), unit, 7)


def signer(keys: dict[str, Any], **more: object) -> Signer:
    """A configuration with these keys; each needs no more than what the test is about."""
    defaults = {"type": "ecdsa-p256", "operations": ["sign"]}
    return Signer.model_validate(
        {
            "module": "/usr/lib/token.so",
            "token": "t",
            "pin": "credential:pin",
            "keys": {name: {**defaults, **key} for name, key in keys.items()},
            **more,
        }
    )


def policy(keys: dict[str, Any], **more: object) -> Policy:
    return Policy(signer(keys, **more), IDS)
