"""The members of a record, as JSON text. Pure; docs/audit.md has the schema.

Text that may need escaping is escaped once for a connection or a key (`actor`, `use`), never for each request:
a record on the hot path is two f-strings. No member ever holds a value or what a client sent: a digest is keyed.
"""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from secretsd.signing.model import Peer

Result = Literal["ok", "refused", "failed"]

DAEMON = '"actor":"daemon"'  # nobody asked: the daemon did it by itself
_DIGEST_BYTES = 16


def actor(peer: Peer) -> str:
    """Who asked, made once for a connection."""
    return (
        f'"actor":{{"uid":{peer.uid},"unit":{json.dumps(peer.unit)},"pid":{peer.pid},'
        f'"start":{peer.start_ticks}}}'
    )


def use(action: str, key: str | None, mechanism: str | None, actor: str) -> str:
    """What all records of one kind of use share. `key` is a configured key's name, None for any other name."""
    return (
        f'"action":{json.dumps(action)},"key":{json.dumps(key)},"mechanism":{json.dumps(mechanism)},{actor}'
    )


def intent(use: str, request: int, version: int, digest: str = "") -> str:
    """Before the deed. `request` joins it with its outcome; `version` is 0 where the key has none to use."""
    members = f'{use},"phase":"intent","request":{request},"version":{version}'
    return f'{members},"digest":"{digest}"' if digest else members


def outcome(use: str, request: int, version: int, result: Result = "ok", reason: str = "") -> str:
    """After the deed, or in its place: a refusal has no intent. `reason` is an error's code, never its text."""
    members = f'{use},"phase":"outcome","request":{request},"version":{version},"result":"{result}"'
    return f'{members},"reason":"{reason}"' if reason else members


def event(
    action: str,
    actor: str = DAEMON,
    *,
    result: Result = "ok",
    reason: str = "",
    **details: str | int | dict[str, int] | None,
) -> str:
    """Something that is no use of a key: start, stop, reload, unlock. `details` follow in the order given."""
    said = {"phase": "outcome", "result": result} | ({"reason": reason} if reason else {}) | details
    return f'"action":{json.dumps(action)},{actor},{json.dumps(said, separators=(",", ":"))[1:-1]}'


def keyed_digest(key: bytes, message: bytes) -> str:
    """Tells equal messages from others, for whoever has `key` (up to 64 bytes): BLAKE2b (RFC 7693), 32 digits.

    A plain hash of a short message could be guessed by trying.
    """
    return hashlib.blake2b(message, digest_size=_DIGEST_BYTES, key=key).hexdigest()
