"""What to do next, decided without touching the world.

`plan` compares what is wanted with what is known and returns steps; the conductor does them, and
`secretsctl plan` prints them. What was published and what each unit has loaded are both observed, so that
a crash between the two is a step still to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from secretsd.config.models import Bundle
from secretsd.config.on_change import OnChange
from secretsd.errors import Failure, FailureClass
from secretsd.model import Candidate, Hold, PublishRecord, Rejected, Showing
from secretsd.refresh.hold import supersedes
from secretsd.refresh.sealed.choice import Copies, choose

ALTERED = "its published files were altered"
ROLLED_BACK = "it was rolled back"
UNSEALED = "from its sealed copy: its source does not help"


@dataclass(frozen=True, slots=True)
class PublishBundle:
    """Show the candidate as a new generation."""

    bundle: str
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class KeepPublished:
    """The source confirmed what is published: nothing is rewritten, nobody is told."""

    bundle: str


@dataclass(frozen=True, slots=True)
class KeepStale:
    """The bundle could not be made: its last good generation stays."""

    bundle: str
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class KeepHeld:
    """The source has something else than what is published, and an operator holds that."""

    bundle: str


@dataclass(frozen=True, slots=True)
class RestoreBundle:
    """Show a generation again from the daemon's own copy, as a new generation."""

    bundle: str
    copy_of: int  # the generation whose copy it is made from
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class UnsealBundle:
    """Publish a sealed copy, since nothing is published and the source does not help."""

    bundle: str
    copy_of: int  # the generation whose copy it is
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class RemoveBundle:
    """Take the bundle's files away."""

    bundle: str
    reason: str


@dataclass(frozen=True, slots=True)
class NotifyUnit:
    """Bring one unit to the generation."""

    bundle: str
    generation: int
    unit: str
    action: str


Anew = RestoreBundle | UnsealBundle  # shown without the source
Step = PublishBundle | KeepPublished | KeepHeld | KeepStale | Anew | RemoveBundle | NotifyUnit


@dataclass(frozen=True, slots=True)
class Observed:
    """What is known of one bundle on this host."""

    published: PublishRecord | None = None
    intact: bool = True
    last_generation: int = 0  # no higher number was ever given, on this boot or before
    result: Candidate | Rejected | None = None  # what this refresh brought, if there was one
    hold: Hold | None = None
    history: tuple[Showing, ...] = ()  # oldest first
    sealed: Copies = field(default_factory=dict)
    loaded: Mapping[str, int] = field(default_factory=dict)  # unit -> the generation it runs on
    retry_at: Mapping[str, float] = field(
        default_factory=dict
    )  # unit -> earliest next try, monotonic seconds


def plan(desired: Mapping[str, Bundle], observed: Mapping[str, Observed], now: float) -> tuple[Step, ...]:
    """The steps from `observed` to `desired`, in order. `now` is monotonic, in seconds."""
    steps: list[Step] = []
    for name, bundle in desired.items():
        steps.extend(_plan_bundle(name, bundle, observed.get(name, Observed()), now))
    for name in observed:
        if name not in desired:
            steps.append(RemoveBundle(name, "the configuration no longer names it"))
    return tuple(steps)


def _plan_bundle(name: str, bundle: Bundle, seen: Observed, now: float) -> Iterator[Step]:
    showing: PublishBundle | Anew | None = None
    match seen.result:
        case Candidate() as candidate:
            if reason := _reason_to_publish(seen, candidate):
                showing = PublishBundle(name, seen.last_generation + 1, reason)
            elif is_held_back(seen, candidate):
                yield KeepHeld(name)
            else:
                yield KeepPublished(name)
        case Rejected(failures=failures):
            if bundle.on_refusal == "withdraw" and _is_refused(failures):
                yield RemoveBundle(name, "the source refused it, and on_refusal is withdraw")
                return
            yield KeepStale(name, failures)
            showing = _to_unseal(name, seen, failures)
        case None:
            pass
    showing = showing or _to_restore(name, seen)
    generation = seen.published.generation if seen.published else None
    if showing is not None:
        yield showing
        generation = showing.generation
        if _shows_same(showing, seen):
            seen = _carried(seen, generation)
    if generation is not None:
        yield from _plan_notifications(name, bundle, generation, seen, now)


def is_held_back(seen: Observed, candidate: Candidate) -> bool:
    """Whether an operator's word keeps the candidate from being published."""
    differs = seen.published is not None and seen.published.digest != candidate.digest
    return differs and seen.hold is not None and not ends_hold(seen.hold, candidate)


def ends_hold(hold: Hold, candidate: Candidate) -> bool:
    """Whether the source has what a rollback waits for; a hold waits for `resume` alone."""
    return hold.kind == "rollback" and supersedes(candidate.versions, hold)


def _to_restore(name: str, seen: Observed) -> RestoreBundle | None:
    if seen.published is None:
        return None
    number = seen.last_generation + 1
    if seen.hold is not None and seen.hold.digest != seen.published.digest:
        return RestoreBundle(name, seen.hold.generation, number, ROLLED_BACK)
    if not seen.intact:
        return RestoreBundle(name, seen.published.generation, number, ALTERED)
    return None


def _to_unseal(name: str, seen: Observed, failures: tuple[Failure, ...]) -> UnsealBundle | None:
    """Nothing is published, most likely since a boot, and no source of the bundle has mended that."""
    if seen.published is not None:
        return None
    copy_of = choose(name, seen.sealed, seen.hold, seen.history)
    if not isinstance(copy_of, int):
        return None
    return UnsealBundle(name, copy_of, seen.last_generation + 1, f"{UNSEALED} ({failures[0].code})")


def _shows_same(showing: PublishBundle | Anew, seen: Observed) -> bool:
    """Whether what is to be shown has the content of what is published."""
    if seen.published is None:
        return False
    if isinstance(showing, RestoreBundle):
        return showing.copy_of == seen.published.generation
    return isinstance(seen.result, Candidate) and seen.published.digest == seen.result.digest


def carry(units: Mapping[str, int], *, old: int, new: int) -> dict[str, int]:
    """What units made of generation `old` they make of `new` too, which holds the same content."""
    return {unit: new if generation == old else generation for unit, generation in units.items()}


def _carried(seen: Observed, new: int) -> Observed:
    old = seen.published.generation if seen.published else 0
    return replace(seen, loaded=carry(seen.loaded, old=old, new=new))


def _reason_to_publish(seen: Observed, candidate: Candidate) -> str | None:
    if seen.published is None:
        return "it is not published yet"
    if seen.published.digest != candidate.digest:
        if seen.hold is None:
            return "its content changed"
        return "its source has a newer version" if ends_hold(seen.hold, candidate) else None
    if seen.hold is not None and seen.hold.digest != seen.published.digest:
        return None  # an operator has just rolled back from this very content
    return None if seen.intact else ALTERED


def _is_refused(failures: tuple[Failure, ...]) -> bool:
    return any(failure.failure_class is FailureClass.REFUSAL for failure in failures)


def _plan_notifications(
    name: str, bundle: Bundle, generation: int, seen: Observed, now: float
) -> Iterator[NotifyUnit]:
    for entry in bundle.on_change:
        behind = must_load(entry) and seen.loaded.get(entry.unit, 0) < generation
        if behind and seen.retry_at.get(entry.unit, now) <= now:
            yield NotifyUnit(name, generation, entry.unit, entry.action)


def must_load(entry: OnChange) -> bool:
    """Whether the daemon has anything to do for this unit before the bundle counts as loaded."""
    return entry.action != "none" or entry.require_ack
