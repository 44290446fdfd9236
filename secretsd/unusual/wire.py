"""How the signer tells the refresher of a finding: a datagram of JSON. Pure.

The refresher takes nothing but what fits: a signer that was taken over can raise alerts, and no more.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secretsd.unusual.findings import KINDS, OTHERS, Finding

if TYPE_CHECKING:
    from secretsd.config.models import Config

SOCKET_NAME = "signer.sock"
_INSTALLED_DIR = Path("/run/secretsd-unusual")  # RuntimeDirectory= of secretsd.service
SCHEMA = 1
MAX_BYTES = 4096
_MOST_THINGS = 20
_LARGEST = 2**53  # that JSON's readers agree on
_LATEST = 2.0**33  # of a time that can be written as a date; seconds since the epoch
_NAME = re.compile(r"[A-Za-z0-9_.@:\\-]{1,255}")  # of a key, or of a unit (systemd.unit(5))
_UID = re.compile(r"uid [0-9]{1,10}")
# What text that somebody else has sent can raise on its way to a finding.
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


def socket_of(config: Config) -> Path:
    """Where the refresher listens: in no directory of secrets, which are hidden from the signer."""
    return (config.daemon.state_dir if config.foreground else _INSTALLED_DIR) / SOCKET_NAME


def encoded(finding: Finding, at: float) -> bytes:
    """At most MAX_BYTES: names that do not fit are left out. `at`: when it was found, since the epoch."""
    said = {"schema": SCHEMA, "at": at, **asdict(finding)}
    text = json.dumps(said).encode()
    while len(text) > MAX_BYTES and said["things"]:
        said["things"] = said["things"][:-1]
        text = json.dumps(said).encode()
    return text


def decoded(text: bytes) -> tuple[Finding, float]:
    """The finding, and when it was found. Raises: ValueError for what the signer does not send."""
    try:
        said = json.loads(text)
        if said["schema"] != SCHEMA or said["kind"] not in KINDS:
            raise ValueError("unknown")
        things = tuple(("key", _name(name)) for word, name in said["things"] if word == "key")
        numbers = {name: _number(said[name]) for name in ("count", "usual", "window_s")}
        who = said["who"]
        if who not in ("", OTHERS) and not _UID.fullmatch(who):
            _name(who)
        return Finding(said["kind"], who, things=things[:_MOST_THINGS], **numbers), _time(said["at"])
    except _DAMAGE:
        raise ValueError("no finding of the signer's") from None


def _name(text: Any) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("no name")
    return str(text)


def _time(value: Any) -> float:
    if not 0 <= value < _LATEST:  # NaN is neither
        raise ValueError("no time")
    return float(value)


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _LARGEST:
        raise ValueError("no number")
    return value
