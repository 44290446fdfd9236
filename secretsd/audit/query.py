"""Which records somebody wants to see. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
SecretName = tuple[str, str]  # source and id

_FIRST, _LAST = "", "~"  # before and behind every time as records have it
_TELL_CONTENT = frozenset({"publish", "unseal"})
_READS = frozenset({"fetch", "refetch"})


@dataclass(frozen=True, slots=True)
class Query:
    """All filters that are given must fit; of several values of one filter, any.

    Times are as records have them (UTC, microseconds); `until` is left out.
    """

    bundles: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    actors: frozenset[str] = frozenset()  # uids, units or "daemon"
    actions: frozenset[str] = frozenset()
    results: frozenset[str] = frozenset()
    since: str = _FIRST
    until: str = _LAST


class Sieve:
    """Lets through what a query asks for, as records come by.

    What concerns a bundle are also the reads of its own secrets: a read is of a secret, and which bundles are
    made of it is known from their `publish` records. So those go through `learn` as they come.
    """

    def __init__(self, query: Query) -> None:
        self.query = query
        self._made_of: set[SecretName] = set()
        self._bundles = [_member("bundle", bundle) for bundle in query.bundles]
        self._needles = self._find_needles()

    def may_fit(self, lines: bytes) -> bool:
        """False where a line, or all of several, lack what each that fits has: quicker than to parse it."""
        for needles in self._needles:
            for needle in needles:
                if needle in lines:
                    break
            else:
                return False
        return True

    def fits(self, record: Record) -> bool:
        """Whether the record is one of those; its time is the caller's to look at."""
        asked = self.query
        return (
            _is_one_of(record.get("action"), asked.actions)
            and _is_one_of(record.get("result"), asked.results)
            and _has_one_of(record, "key", asked.keys)
            and (_has_one_of(record, "bundle", asked.bundles) or self._is_read(record))
            and (not asked.secrets or not asked.secrets.isdisjoint(secrets_of(record)))
            and (not asked.actors or not asked.actors.isdisjoint(_names_of(record)))
        )

    def may_tell(self, lines: bytes) -> bool:
        """False where `learn` learns nothing from a line, or from all of several."""
        return b'"generation":' in lines and any(bundle in lines for bundle in self._bundles)

    def learn(self, record: Record) -> str | None:
        """Takes note of what a bundle that is asked for is made of, and returns the bundle."""
        bundle = record.get("bundle")
        if record.get("action") not in _TELL_CONTENT or bundle not in self.query.bundles:
            return None
        found = {(str(each["source"]), str(each["secret"])) for each in record.get("secrets") or ()}
        if not found <= self._made_of:
            self._made_of |= found
            self._needles = self._find_needles()
        return str(bundle)

    def _is_read(self, record: Record) -> bool:
        source = str(record.get("source"))
        return record.get("action") in _READS and any(
            (source, secret) in self._made_of for secret in secrets_of(record)
        )

    def _find_needles(self) -> Sequence[Sequence[bytes]]:
        """For each filter, texts of which a line that fits has one."""
        asked = self.query
        members = (("action", asked.actions), ("result", asked.results))
        found = [[_member(name, value) for value in values] for name, values in members]
        # Alone or in an array.
        found.append([_quoted(key) for key in asked.keys])
        made_of = [secret for _, secret in self._made_of]
        found.append([_quoted(name) for name in (*asked.bundles, *made_of)])
        found.append([_quoted(secret) for secret in asked.secrets])
        found.append([text for actor in asked.actors for text in _needles_of(actor)])
        return [needles for needles in found if needles]


def secrets_of(record: Record) -> Iterator[str]:
    """The ids of all secrets that a record speaks of."""
    if "secret" in record:
        yield str(record["secret"])
    for each in record.get("secrets") or ():
        yield str(each["secret"]) if isinstance(each, dict) else str(each)


def _is_one_of(value: object, wanted: frozenset[str]) -> bool:
    return not wanted or value in wanted


def _has_one_of(record: Record, name: str, wanted: frozenset[str]) -> bool:
    """Of the one that a record is about, or of several: `bundle`, or `bundles` (of `configure` a number)."""
    several = record.get(f"{name}s")
    return _is_one_of(record.get(name), wanted) or (
        isinstance(several, list) and not wanted.isdisjoint(several)
    )


def _names_of(record: Record) -> tuple[str, ...]:
    actor = record.get("actor")
    if isinstance(actor, dict):
        return str(actor.get("uid")), str(actor.get("unit"))
    # What is unusual was found by the daemon, and is about somebody.
    return str(actor), str(record.get("who", "")).removeprefix("uid ")


def _needles_of(actor: str) -> tuple[bytes, ...]:
    return _quoted(actor), b'"uid":' + actor.encode(), _quoted(f"uid {actor}")


def _quoted(value: str) -> bytes:
    """A text as it stands in a line: records are written by the same function."""
    return json.dumps(value).encode()


def _member(name: str, value: str) -> bytes:
    return b'"%b":%b' % (name.encode(), _quoted(value))
