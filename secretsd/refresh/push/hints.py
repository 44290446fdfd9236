"""What a hint of the push is about: which bundles, and which versions they shall have then. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from secretsd.config.models import Bundle
from secretsd.model import CURRENT_STAGE, SecretRef, SecretVersion
from secretsd.push.messages import Hint
from secretsd.refresh.secret_ids import names_secret

_PREVIOUS_STAGE = "AWSPREVIOUS"
_MOST_REMEMBERED = 4096
LONGEST_PAUSE_S = 60.0

# By ref; None where it is not known which version it is to be.
Expected = Mapping[SecretRef, str | None]


def expected(hint: Hint, source: str, bundles: Mapping[str, Bundle]) -> dict[str, Expected]:
    """For each bundle that the hint is about, the secrets it is about."""
    found = {name: _of_bundle(hint, source, bundle) for name, bundle in bundles.items()}
    return {name: refs for name, refs in found.items() if refs}


def missing(wanted: Expected, versions: Iterable[SecretVersion]) -> dict[SecretRef, str]:
    """What was hinted at and is not what the source has given: a hint can be quicker than its reads."""
    given = {(version.ref, version.version_id) for version in versions}
    return {ref: version for ref, version in wanted.items() if version and (ref, version) not in given}


def _of_bundle(hint: Hint, source: str, bundle: Bundle) -> dict[SecretRef, str | None]:
    refs = (secret.ref for secret in bundle.secrets if secret.source == source)
    return {
        ref: hint.version_id if ref.stage == hint.label else None
        for ref in refs
        if _moves(hint.label, ref) and names_secret(ref.id, arn=hint.arn, name=hint.name)
    }


def _moves(label: str | None, ref: SecretRef) -> bool:
    """Whether what `ref` asks for can be another version now. AWSPREVIOUS follows AWSCURRENT, untold."""
    if ref.version is not None:
        return False
    return label in (None, ref.stage) or (label == CURRENT_STAGE and ref.stage == _PREVIOUS_STAGE)


@dataclass(slots=True)
class Pace:
    """How soon one bundle may be refreshed for a hint again.

    Soon after a hint that was true. One after which the source had nothing new was made up, or late: each of
    those doubles the pause, or whoever may send to the queue could have us pay for two million reads a month.
    """

    asked_at: float = float("-inf")  # monotonic seconds
    in_vain: int = 0  # in a row
    _had: frozenset[SecretVersion] | None = None

    def next_at(self, has: Iterable[SecretVersion], *, pause_s: float) -> float:
        """In monotonic seconds; `has` are the versions that the source has given by now."""
        doublings = self.in_vain if frozenset(has) == self._had else 0
        return self.asked_at + min(pause_s * 2.0**doublings, LONGEST_PAUSE_S)

    def ask(self, has: Iterable[SecretVersion], *, now: float) -> None:
        """A hint makes us ask at `now`."""
        had = frozenset(has)
        self.in_vain = min(self.in_vain + 1, 10) if had == self._had else 0
        self.asked_at, self._had = now, had


@dataclass(slots=True)
class Told:
    """The last version that was told of each secret's label, so that a message that comes twice counts once.

    Only the last: a label that goes back to an earlier version is news, though that version was told before.
    """

    _last: OrderedDict[tuple[str, str | None], str] = field(default_factory=OrderedDict)

    def is_news(self, hint: Hint) -> bool:
        """Whether this was not the last that was told; remembers it."""
        if hint.version_id is None:
            return True
        key = (hint.arn or hint.name or "", hint.label)
        if self._last.get(key) == hint.version_id:
            return False
        self._last[key] = hint.version_id
        self._last.move_to_end(key)
        if len(self._last) > _MOST_REMEMBERED:
            self._last.popitem(last=False)
        return True
