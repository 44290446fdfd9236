"""The members of a record, as JSON text. Pure; docs/audit.md has the schema.

Text that may need escaping is escaped once for a connection or a key (`actor`, `use`), not for each request:
a record on the hot path is an f-string. No member holds a value or what a client sent; digests are keyed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from secretsd.signing.model import Peer

Result = Literal["ok", "refused", "failed"]

DAEMON = '"actor":"daemon"'  # nobody asked: the daemon did it by itself
_DIGEST_BYTES = 16
_TIME = re.compile(rb'"time":"([^"]{20,32})"')


def actor(peer: Peer) -> str:
    """Who asked, made once for a connection."""
    said = {"uid": peer.uid, "unit": peer.unit, "pid": peer.pid, "start": peer.start_ticks}
    return _members({"actor": said})


def use(action: str, key: str | None, mechanism: str | None, actor: str) -> str:
    """What all records of one kind of use share. `key` is a configured key's name, None for any other."""
    return f"{_members({'action': action, 'key': key, 'mechanism': mechanism})},{actor}"


def intent(use: str, request: int, version: int, digest: str = "") -> str:
    """Before the deed. `request` joins it with its outcome; `version` is 0 where there is none to use."""
    members = f'{use},"phase":"intent","request":{request},"version":{version}'
    return f'{members},"digest":"{digest}"' if digest else members


def outcome(use: str, request: int, version: int, result: Result = "ok", reason: str = "") -> str:
    """After the deed, or in its place: a refusal has no intent. `reason` is an error's code, not its text."""
    members = f'{use},"phase":"outcome","request":{request},"version":{version},"result":"{result}"'
    return f'{members},"reason":"{reason}"' if reason else members


def event(
    action: str,
    actor: str = DAEMON,
    *,
    request: int = 0,
    result: Result = "ok",
    reason: str = "",
    details: Mapping[str, object] | None = None,
) -> str:
    """Something that is no use of a key: start, stop, reload, unlock. `details` are JSON, in their order.

    With `request` it is the outcome of an `order` of that number.
    """
    said: dict[str, object] = {"phase": "outcome", **({"request": request} if request else {})}
    said |= {"result": result, **({"reason": reason} if reason else {}), **(details or {})}
    return f"{_members({'action': action})},{actor},{_members(said)}"


def order(action: str, actor: str, request: int, details: Mapping[str, object]) -> str:
    """What somebody has asked for, before it is done; an `event` with its number is the outcome."""
    said = {"phase": "intent", "request": request, **details}
    return f"{_members({'action': action})},{actor},{_members(said)}"


def announced(action: str, details: Mapping[str, object]) -> str:
    """What the daemon is about to do by itself, before it does; an `event` says what came of it."""
    return f"{_members({'action': action})},{DAEMON},{_members({'phase': 'intent', **details})}"


def made_at_s(line: bytes) -> float | None:
    """When the record of this line was made, in seconds since the epoch; None where it does not say."""
    found = _TIME.search(line)
    try:
        return datetime.fromisoformat(found[1].decode()).timestamp() if found else None
    except ValueError:
        return None


def keyed_digest(key: bytes, message: bytes) -> str:
    """Tells equal messages from others for whoever has `key`, 1 to 64 bytes: BLAKE2b (RFC 7693), 32 digits.

    A plain hash of a short message could be guessed by trying.
    """
    return hashlib.blake2b(message, digest_size=_DIGEST_BYTES, key=key).hexdigest()


def _members(said: Mapping[str, object]) -> str:
    return json.dumps(said, separators=(",", ":"))[1:-1]
