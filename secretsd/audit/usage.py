"""Who uses what, counted from the records of the trails. Pure.

A key is used by whoever had it sign, encrypt or the like. A secret is read by secretsd, again and again; it
is used by the units that have loaded a bundle that was made of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from secretsd.audit.query import Record

SecretName = tuple[str, str]  # source and id

LOADED = frozenset({"acted", "current"})  # outcomes of a unit that runs on a generation


@dataclass(slots=True)
class Use:
    """How often, and when first and last; times as records have them, empty for never."""

    count: int = 0
    first: str = ""
    last: str = ""

    def add(self, moment: str) -> None:
        self.count += 1
        self.first = self.first or moment
        self.last = max(self.last, moment)  # clocks may be set


def _uses() -> defaultdict[str, Use]:
    return defaultdict(Use)


@dataclass(slots=True)
class SecretUse:
    """One secret: secretsd's reads of it, the bundles that were made of it, the units that loaded them."""

    reads: Use = field(default_factory=Use)
    bundles: set[str] = field(default_factory=set)
    units: defaultdict[str, Use] = field(default_factory=_uses)


class Usage:
    """Adds up records, in the order of each chain."""

    def __init__(self) -> None:
        self.since = ""  # the time of the first record
        self.keys: defaultdict[str, defaultdict[str, Use]] = defaultdict(_uses)  # by key and by who
        self.secrets: defaultdict[SecretName, SecretUse] = defaultdict(SecretUse)
        self._made_of: dict[tuple[str, int], list[SecretName]] = {}  # bundle and generation

    def expect(self, keys: Iterable[str], secrets: Iterable[SecretName]) -> None:
        """These are configured, and may have no use at all."""
        for key in keys:
            self.keys[key]
        for secret in secrets:
            self.secrets[secret]

    def add(self, record: Record) -> None:
        """Takes one record into account."""
        moment = str(record.get("time"))
        self.since = min(self.since or moment, moment)
        if record.get("result") != "ok":
            return
        if record.get("key") is not None:
            self.keys[str(record["key"])][_who(record.get("actor"))].add(moment)
        match record.get("action"):
            case "fetch":
                self._read([record["secret"]], record, moment)
            case "refetch":
                self._read(record["secrets"], record, moment)
            case "publish" | "unseal":
                self._published(record)
            case "notify" if record.get("outcome") in LOADED:
                self._loaded(record, moment)
            case _:
                pass

    def unused(self, before: str) -> tuple[list[str], list[SecretName]]:
        """The keys that nobody has used since `before`, and the secrets that no unit has loaded since."""
        keys = [key for key, by in self.keys.items() if last(by) < before]
        secrets = [secret for secret, use in self.secrets.items() if last(use.units) < before]
        return sorted(keys), sorted(secrets)

    def _read(self, ids: Iterable[Any], record: Record, moment: str) -> None:
        for each in ids:
            self.secrets[str(record["source"]), str(each)].reads.add(moment)

    def _published(self, record: Record) -> None:
        bundle, made_of = str(record["bundle"]), record.get("secrets") or ()
        secrets = [(str(each["source"]), str(each["secret"])) for each in made_of]
        self._made_of[bundle, int(record["generation"])] = secrets
        for secret in secrets:
            self.secrets[secret].bundles.add(bundle)

    def _loaded(self, record: Record, moment: str) -> None:
        generation = str(record["bundle"]), int(record["generation"])
        for secret in self._made_of.get(generation, ()):
            self.secrets[secret].units[str(record["unit"])].add(moment)


def last(uses: Mapping[str, Use]) -> str:
    """When anybody of these used it last; empty for never."""
    return max((use.last for use in uses.values()), default="")


def _who(actor: object) -> str:
    if isinstance(actor, dict):
        return str(actor["unit"]) if actor.get("unit") else f"uid {actor.get('uid')}"
    return str(actor)
