"""Which event an alert command is to be told next. Pure: time comes in as an argument.

What the command was told is compared with what is true. The difference is the queue: an event that cannot be
sent now (too many lately, a command that fails) is sent later if it is still true, with what is true then,
and is only counted if it is not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

EventName = Literal["failed", "stale", "refused", "drift", "not-loaded", "aging", "unusual", "recovered"]
Command = tuple[str, ...]

# The order in which events are told when several are due.
URGENCY: tuple[EventName, ...] = (
    *("refused", "failed", "drift", "unusual", "not-loaded", "aging", "stale", "recovered"),
)

REFRESH = "refresh"  # the trouble of a bundle whose cause other bundles can share
ALL_BUNDLES = 5  # times the limit of one: how much all of them together may be told
_HOUR_S = 3600.0
_FIRST_RETRY_S = 30.0  # after a command that failed; then twice as long each time
_LONGEST_RETRY_S = 900.0
_MOST_REPORTS = 50
_NAMED_REPORTS = 5  # in one message


@dataclass(frozen=True, slots=True, order=True)
class Trouble:
    """What can be well or not: a bundle's refreshes, its files, or one of its units."""

    bundle: str
    what: str  # REFRESH, "files", "age" or the unit's name

    def __str__(self) -> str:
        return f"{self.bundle}/{self.what}"


# Of no bundle, and with an allowance of its own: no bundle's name has a slash.
UNUSUAL = Trouble("/unusual", "access")


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is wrong now, in words for an operator; holds no value."""

    trouble: Trouble
    event: EventName
    message: str
    advice: str
    failure_class: str | None = None
    code: str | None = None
    generation: int | None = None
    since: float | None = None  # seconds since the epoch
    delay_s: float = 0.0  # how long it must last before it is told
    distinction: str = ""  # the same event with another distinction is told anew

    @property
    def kind(self) -> tuple[str, str]:
        return self.event, self.distinction


@dataclass(frozen=True, slots=True)
class Report:
    """Something that has happened, and that no state shows: told once, and never over. Holds no value."""

    code: str
    message: str
    advice: str
    at: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Told:
    """What the command knows of a trouble."""

    event: EventName
    distinction: str
    since: float | None
    message: str

    @property
    def kind(self) -> tuple[str, str]:
        return self.event, self.distinction


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that is wrong now, and of whom that can be said."""

    conditions: Mapping[Trouble, Condition]
    unknown: Collection[Trouble]  # nobody knows yet: what was told of them stays as it is
    commands: Mapping[str, Command]  # bundle -> its alert command, () for none; "" stands for bundles gone
    limit: int  # events an hour for one bundle


@dataclass(frozen=True, slots=True)
class Event:
    """What one run of an alert command is about. `was` is what a "recovered" ends.

    `also` are events of other bundles with the same cause: one outage of a source is one message, however
    many bundles it keeps from being refreshed.
    """

    trouble: Trouble
    event: EventName
    command: Command
    condition: Condition | None
    was: Told | None
    suppressed: int = 0  # events of this bundle that came and went since the last one, untold
    also: tuple[Event, ...] = ()
    reports: tuple[Report, ...] = ()  # of an "unusual": what it tells

    @property
    def rank(self) -> tuple[int, float, Trouble]:
        """The lowest is told first."""
        since = self.condition.since if self.condition else None
        return URGENCY.index(self.event), since or 0.0, self.trouble

    @property
    def kind(self) -> tuple[str, str]:
        return self.condition.kind if self.condition else (self.event, "")

    def shares_cause_with(self, other: Event) -> bool:
        """Whether one message can tell both."""
        return (
            self.trouble != other.trouble
            and self.trouble.what == other.trouble.what == REFRESH
            and (self.kind, self.command) == (other.kind, other.command)
            and (self.was.kind if self.was else None) == (other.was.kind if other.was else None)
        )


@dataclass(frozen=True, slots=True)
class _Seen:
    """Since when a trouble has lasted, and since when it has been of this kind; monotonic seconds."""

    since: float
    kind: tuple[str, str]
    kind_since: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """A bucket of events that fills again with time, so that a burst leaves something for the end of it."""

    events: float
    at: float  # monotonic seconds

    def filled(self, limit: int, now: float) -> Allowance:
        """As of `now`: half of an hour's limit may come at once, the other half over the hour."""
        most = limit / 2
        earned = max(0.0, now - self.at) / _HOUR_S * most
        return Allowance(min(most, self.events + earned), now)


@dataclass(frozen=True, slots=True)
class _Broken:
    """A command that failed: how often in a row, and when it may be tried again (monotonic seconds)."""

    attempts: int
    retry_at: float


@dataclass(frozen=True, slots=True)
class Memory:
    """What was told, and what is needed to tell the next. `told` and `allowances` outlive the daemon."""

    told: Mapping[Trouble, Told] = field(default_factory=dict)
    allowances: Mapping[str, Allowance] = field(default_factory=dict)  # "" for all bundles together
    seen: Mapping[Trouble, _Seen] = field(default_factory=dict)
    due: Mapping[Trouble, tuple[str, str]] = field(default_factory=dict)  # the kind of what is to be told
    suppressed: Mapping[str, int] = field(default_factory=dict)  # by bundle
    broken: Mapping[Command, _Broken] = field(default_factory=dict)
    reports: tuple[Report, ...] = ()  # not told yet; they outlive the daemon, too

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing will become due by the passing of time alone."""
        return not (self.seen or self.told or self.due or self.reports)


def look(memory: Memory, situation: Situation, now: float) -> tuple[Memory, Event | None]:
    """The memory of this look, and the event to be told now, if there is one; `now` is monotonic."""
    seen = {
        trouble: _seen_again(memory.seen.get(trouble), condition, now)
        for trouble, condition in situation.conditions.items()
    }
    told = {
        trouble: what for trouble, what in memory.told.items() if _command_of(trouble, situation) is not None
    }
    reports = memory.reports if situation.commands.get("") else ()
    memory = replace(memory, seen=seen, told=told, reports=reports)
    events = list(_due(memory, situation, now))
    due = {event.trouble: event.kind for event in events}
    memory = replace(memory, suppressed=_suppressed(memory, due), due=due)
    ready = [
        event
        for event in (*events, *_unusual(memory, situation))
        if _may_be_told(memory, event, situation.limit, now)
    ]
    first = min(ready, key=lambda event: event.rank, default=None)
    if first is not None:
        also = sorted(filter(first.shares_cause_with, events), key=lambda event: event.rank)
        suppressed = memory.suppressed.get(first.trouble.bundle, 0)
        first = replace(first, suppressed=suppressed, also=tuple(also))
    return memory, first


def report(memory: Memory, what: Report) -> Memory:
    """Something is to be told at once. Of too many the last ones are counted alone."""
    if len(memory.reports) < _MOST_REPORTS:
        return replace(memory, reports=(*memory.reports, what))
    counts = {**memory.suppressed, UNUSUAL.bundle: memory.suppressed.get(UNUSUAL.bundle, 0) + 1}
    return replace(memory, suppressed=counts)


def spend(memory: Memory, event: Event, limit: int, now: float) -> Memory:
    """The command is about to be run for `event`, which counts whatever comes of it."""
    spent = {
        name: replace(allowance, events=allowance.events - 1)
        for name, allowance in _allowances(memory, event, limit, now).items()
    }
    return replace(memory, allowances={**memory.allowances, **spent})


def succeed(memory: Memory, event: Event) -> Memory:
    """The command was told of `event` and of what goes with it."""
    told, due = dict(memory.told), dict(memory.due)
    for each in (event, *event.also) if not event.reports else ():
        told.pop(each.trouble, None)
        due.pop(each.trouble, None)
        if each.condition is not None:
            what = each.condition
            told[each.trouble] = Told(what.event, what.distinction, what.since, what.message)
    return replace(
        memory,
        told=told,
        due=due,
        suppressed=_without(memory.suppressed, event.trouble.bundle),
        broken=_without(memory.broken, event.command),
        reports=memory.reports[len(event.reports) :],
    )


def fail(memory: Memory, event: Event, now: float) -> Memory:
    """The command failed: it is left alone for a while, and then told what is true by then."""
    attempts = memory.broken[event.command].attempts + 1 if event.command in memory.broken else 1
    delay_s = min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2.0 ** min(attempts - 1, 16))
    return replace(memory, broken={**memory.broken, event.command: _Broken(attempts, now + delay_s)})


def _seen_again(before: _Seen | None, condition: Condition, now: float) -> _Seen:
    if before is None:
        return _Seen(now, condition.kind, now)
    if before.kind != condition.kind:
        return _Seen(before.since, condition.kind, now)
    return before


def _due(memory: Memory, situation: Situation, now: float) -> Iterable[Event]:
    for trouble, condition in situation.conditions.items():
        command = _command_of(trouble, situation)
        was, seen = memory.told.get(trouble), memory.seen[trouble]
        # Not told yet: the trouble as a whole counts, or one that changes its face often is never told.
        lasted_s = now - (seen.since if was is None else seen.kind_since)
        is_news = was is None or was.kind != condition.kind
        if command is not None and is_news and lasted_s >= condition.delay_s:
            yield Event(trouble, condition.event, command, condition, was)
    for trouble in memory.told.keys() - situation.conditions.keys() - set(situation.unknown):
        command = _command_of(trouble, situation)
        if command is not None:
            yield Event(trouble, "recovered", command, None, memory.told[trouble])


def _unusual(memory: Memory, situation: Situation) -> Iterable[Event]:
    """All that has happened since the last one as one event: a burst wakes somebody once."""
    if memory.reports:
        first, *others = memory.reports
        told = [each.message for each in memory.reports[:_NAMED_REPORTS]]
        more = len(memory.reports) - len(told)
        condition = Condition(
            trouble=UNUSUAL,
            event="unusual",
            message="; ".join(told) + (f"; {more} more" if more else ""),
            advice=first.advice,
            code=first.code if all(each.code == first.code for each in others) else "several",
            since=first.at,
        )
        command = situation.commands[""]
        yield Event(UNUSUAL, "unusual", command, condition, None, reports=memory.reports)


def _command_of(trouble: Trouble, situation: Situation) -> Command | None:
    gone = situation.commands.get("", ())
    return situation.commands.get(trouble.bundle, gone) or None


def _suppressed(memory: Memory, due: Mapping[Trouble, tuple[str, str]]) -> dict[str, int]:
    """Counts what was due at the last look, was not sent, and is not true any more."""
    counts = dict(memory.suppressed)
    for trouble, kind in memory.due.items():
        if due.get(trouble) != kind:
            counts[trouble.bundle] = counts.get(trouble.bundle, 0) + 1
    return counts


def _may_be_told(memory: Memory, event: Event, limit: int, now: float) -> bool:
    broken = memory.broken.get(event.command)
    if broken is not None and now < broken.retry_at:
        return False
    return all(each.events >= 1 for each in _allowances(memory, event, limit, now).values())


def _allowances(memory: Memory, event: Event, limit: int, now: float) -> dict[str, Allowance]:
    limits = {event.trouble.bundle: limit, "": ALL_BUNDLES * limit}
    return {
        name: memory.allowances.get(name, Allowance(most / 2, now)).filled(most, now)
        for name, most in limits.items()
    }


def _without(mapping: Mapping[_Key, _Value], key: _Key) -> dict[_Key, _Value]:
    return {other: value for other, value in mapping.items() if other != key}
