"""Who uses what, counted from the records of the trails. Pure.

A key is used by whoever had it sign, encrypt or the like. A secret is read by secretsd, again and again; it
is used by the units that have loaded a bundle that was made of it, from then on until they load one without.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from secretsd.audit.query import Record, SecretName

LOADED = frozenset({"acted", "current"})  # outcomes of a unit that runs on a generation


@dataclass(slots=True)
class Use:
    """How often, and when first and last; times as records have them, empty for never.

    `goes_on`: a unit has had it since, as far as is on record.
    """

    count: int = 0
    first: str = ""
    last: str = ""
    goes_on: bool = False

    def add(self, moment: str) -> None:
        self.count += 1
        self.first = self.first or moment
        self.last = max(self.last, moment)  # clocks may be set

    def end(self, moment: str) -> None:
        """It had been used up to then."""
        self.last, self.goes_on = max(self.last, moment), False


def _uses() -> defaultdict[str, Use]:
    return defaultdict(Use)


@dataclass(slots=True)
class SecretUse:
    """One secret: secretsd's reads of it, the bundles that were made of it, the units that loaded them."""

    reads: Use = field(default_factory=Use)
    bundles: set[str] = field(default_factory=set)
    units: defaultdict[str, Use] = field(default_factory=_uses)
    not_running: set[str] = field(
        default_factory=set
    )  # units that were found so: a later start is not on record


class Usage:
    """Adds up records, in the order of each chain."""

    def __init__(self) -> None:
        self.keys: defaultdict[str, defaultdict[str, Use]] = defaultdict(_uses)  # by key and by who
        self.secrets: defaultdict[SecretName, SecretUse] = defaultdict(SecretUse)
        self.unknown: set[str] = set()  # bundles that were loaded, and nothing says what they were made of
        self._first: dict[tuple[str, str], str] = {}  # host and daemon -> the time of its first record
        self._configured: Mapping[str, Sequence[SecretName]] = {}
        self._made_of: dict[tuple[str, str, int], Sequence[SecretName]] = {}  # host, bundle and generation
        self._usual: dict[
            tuple[str, str], Sequence[SecretName]
        ] = {}  # host, bundle: what it was made of last
        self._holds: dict[tuple[str, str, str], Sequence[SecretName]] = {}  # host, bundle, unit: what it has

    def expect(self, keys: Iterable[str], bundles: Mapping[str, Sequence[SecretName]]) -> None:
        """These are configured, and may have no use at all. `bundles` has what each is made of."""
        for key in keys:
            self.keys[key]
        for secret in (each for secrets in bundles.values() for each in secrets):
            self.secrets[secret]
        self._configured = bundles

    def since(self, daemon: str) -> str | None:
        """From when on all is on record that this daemon did, on every host that there are records of."""
        return max((moment for (_, name), moment in self._first.items() if name == daemon), default=None)

    def add(self, host: str, daemon: str, record: Record) -> None:
        """Takes one record of a host's daemon into account.

        Raises: one of `reading.DAMAGE` where it has not what such a record has.
        """
        moment = str(record.get("time"))
        self._first[host, daemon] = min(self._first.get((host, daemon), moment), moment)
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
                self._published(host, record)
            case "notify" if record.get("outcome") in LOADED:
                self._loaded(host, record, moment)
            case "notify" if record.get("outcome") == "inactive":
                for secret in self._made(host, record) or ():
                    self.secrets[secret].not_running.add(str(record["unit"]))
            case "remove":
                self._let_go(host, str(record["bundle"]), moment)
            case _:
                pass

    def unused(self, before: str) -> tuple[list[str], list[SecretName]]:
        """The keys that nobody has used since `before`, and the secrets that no unit has had since."""
        keys = [key for key, by in self.keys.items() if not _is_used(by, before)]
        secrets = [secret for secret, use in self.secrets.items() if not _is_used(use.units, before)]
        return sorted(keys), sorted(secrets)

    def _read(self, ids: Iterable[Any], record: Record, moment: str) -> None:
        for each in ids:
            self.secrets[str(record["source"]), str(each)].reads.add(moment)

    def _published(self, host: str, record: Record) -> None:
        bundle, made_of = str(record["bundle"]), record.get("secrets") or ()
        secrets = [(str(each["source"]), str(each["secret"])) for each in made_of]
        self._made_of[host, bundle, int(record["generation"])] = self._usual[host, bundle] = secrets
        for secret in secrets:
            self.secrets[secret].bundles.add(bundle)

    def _loaded(self, host: str, record: Record, moment: str) -> None:
        bundle, unit = str(record["bundle"]), str(record["unit"])
        secrets = self._made(host, record)
        if secrets is None:
            self.unknown.add(bundle)
            return
        self._let_go(host, bundle, moment, unit=unit)
        self._holds[host, bundle, unit] = secrets
        for secret in secrets:
            use = self.secrets[secret].units[unit]
            use.add(moment)
            use.goes_on = True
            self.secrets[secret].not_running.discard(unit)

    def _made(self, host: str, record: Record) -> Sequence[SecretName] | None:
        """What the generation of a `notify` was made of; its `publish` may stand in a file that is gone."""
        bundle = str(record["bundle"])
        secrets = self._made_of.get((host, bundle, int(record["generation"])))
        return secrets or self._usual.get((host, bundle)) or self._configured.get(bundle)

    def _let_go(self, host: str, bundle: str, moment: str, *, unit: str | None = None) -> None:
        """That unit, or each, does not have the bundle any more, or not what it had of it."""
        for held in [each for each in self._holds if each[:2] == (host, bundle) and unit in (None, each[2])]:
            for secret in self._holds.pop(held):
                if not any(secret in others for (*_, who), others in self._holds.items() if who == held[2]):
                    self.secrets[secret].units[held[2]].end(moment)


def _is_used(uses: Mapping[str, Use], before: str) -> bool:
    return any(use.goes_on or use.last >= before for use in uses.values())


def last(uses: Mapping[str, Use]) -> str:
    """When anybody of these used it last; empty for never."""
    return max((use.last for use in uses.values()), default="")


def _who(actor: object) -> str:
    if isinstance(actor, dict):
        return str(actor["unit"]) if actor.get("unit") else f"uid {actor.get('uid')}"
    return str(actor)
