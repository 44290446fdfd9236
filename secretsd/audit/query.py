"""Which records somebody wants to see. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]

_FIRST, _LAST = "", "~"  # before and behind every time as records have it


@dataclass(frozen=True, slots=True)
class Query:
    """All that is given must fit. Times are as records have them (UTC, microseconds); `until` is left out."""

    bundle: str | None = None
    secret: str | None = None
    key: str | None = None
    actor: str | None = None  # a uid, a unit or "daemon"
    action: str | None = None
    result: str | None = None
    since: str = _FIRST
    until: str = _LAST

    def fits(self, record: Record) -> bool:
        """Whether the record is one of those; its time is the caller's to look at."""
        return (
            (self.bundle is None or self.bundle in _all(record, "bundle"))
            and (self.key is None or self.key in _all(record, "key"))
            and self.action in (None, record.get("action"))
            and self.result in (None, record.get("result"))
            and (self.secret is None or self.secret in secrets_of(record))
            and (self.actor is None or self.actor in _actors_of(record))
        )


def secrets_of(record: Record) -> Iterator[str]:
    """The ids of all secrets that a record speaks of."""
    if "secret" in record:
        yield str(record["secret"])
    for each in record.get("secrets") or ():
        yield str(each["secret"]) if isinstance(each, dict) else str(each)


def _all(record: Record, name: str) -> tuple[object, ...]:
    """The one that a record is about, or all where it is about several."""
    several = record.get(f"{name}s")  # of `configure` a number
    return (record.get(name), *(several if isinstance(several, list) else ()))


def _actors_of(record: Record) -> tuple[str, ...]:
    actor, who = record.get("actor"), str(record.get("who", ""))
    if isinstance(actor, dict):
        return str(actor.get("uid")), str(actor.get("unit"))
    # What is unusual was found by the daemon, and is about somebody.
    return str(actor), who.removeprefix("uid ")
