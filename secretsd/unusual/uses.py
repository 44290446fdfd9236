"""Who uses what, and how often: what is usual, and what is not. Pure; seconds are those of the memory's age.

For each actor of each thing the most uses within a minute are kept: of today, of this week and of the one
before. Today counts as usual from tomorrow on, or a rate that grows all day would always be usual.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from secretsd.config.unusual import Unusual
from secretsd.unusual.findings import OTHERS, Finding, Thing

MOST_ACTORS = 256  # of one thing; all beyond share one meter
_MOST_GONE = 1000  # things that are no longer configured and not yet forgotten
_MOST_NAMED = 20  # things in a finding
WINDOW_S = 60
_DAY_S = 86400.0
_WEEK_DAYS = 7


@dataclass(slots=True)
class Meter:
    """One actor's uses of one thing. Whoever sees a use adds to `count`, by `Detector.note`."""

    thing: Thing
    who: str
    count: int = 0  # since it was judged last
    is_known: bool = False  # it has used the thing before
    is_told: bool = False  # today: that it is too often
    day: int = 0
    today: int = 0  # the most within a minute
    this_week: int = 0  # without today
    last_week: int = 0
    window: int = 0
    window_began_s: float = float("-inf")

    @property
    def usual(self) -> int:
        """The most uses within a minute before today."""
        return max(self.this_week, self.last_week)

    def turn(self, day: int) -> bool:
        """Makes it `day`, counted from the beginning of the memory; whether that is another one."""
        if day == self.day:
            return False
        self.this_week, self.today, self.is_told = max(self.this_week, self.today), 0, False
        weeks = day // _WEEK_DAYS - self.day // _WEEK_DAYS
        if weeks:
            self.last_week, self.this_week = (self.this_week if weeks == 1 else 0), 0
        self.day = day
        return True

    def add(self, now_s: float) -> bool:
        """Takes `count` into the window of now; whether today has a new most."""
        if now_s - self.window_began_s >= WINDOW_S:
            self.window, self.window_began_s = 0, now_s
        self.window += self.count
        self.count = 0
        most, self.today = self.today, max(self.today, self.window)
        return self.today > most


@dataclass(slots=True)
class Watched:
    """A thing, and who has used it."""

    born_s: float  # from when on it is learned about
    by: dict[str, Meter] = field(default_factory=dict)


class Uses:
    """All things of one daemon. Grows with the configuration alone, whoever uses them."""

    def __init__(self) -> None:
        self.things: dict[Thing, Watched] = {}
        self.has_changed = False  # something that a restart would tell again, or learn again

    def expect(self, things: Iterable[Thing], now_s: float) -> None:
        """These are configured. One that is gone is remembered: it is not learned anew if it comes back."""
        configured = frozenset(things)
        for thing in sorted(configured - self.things.keys()):
            self._begin(thing, now_s)
        gone = [thing for thing in self.things if thing not in configured]
        for thing in gone[: max(0, len(gone) - _MOST_GONE)]:
            del self.things[thing]

    def meter(self, thing: Thing, who: str, now_s: float) -> Meter:
        """The meter of an actor that has the right to use the thing."""
        watched = self.things.get(thing) or self._begin(thing, now_s)
        if who not in watched.by and len(watched.by) >= MOST_ACTORS:
            who = OTHERS
        found = watched.by.get(who)
        if found is None:
            found = watched.by[who] = Meter(thing, who, day=_day(now_s))
        return found

    def judge(self, touched: Iterable[Meter], settings: Unusual, now_s: float) -> Iterator[Finding]:
        """What is unusual about uses since the last time; `touched` are the meters with a count."""
        new: dict[str, list[Thing]] = {}
        for meter in touched:
            is_learning = self._is_learning(meter.thing, settings, now_s)
            self.has_changed |= meter.turn(_day(now_s))
            self.has_changed |= meter.add(now_s)
            if is_learning:
                meter.this_week = max(meter.this_week, meter.today)
            if not meter.is_known:
                meter.is_known = self.has_changed = True
                if not is_learning:
                    new.setdefault(meter.who, []).append(meter.thing)
            if not is_learning and _is_too_often(meter, settings):
                meter.is_told = self.has_changed = True
                yield Finding("rate", meter.who, meter.window, (meter.thing,), meter.usual, WINDOW_S)
        for who, things in new.items():
            yield Finding("new-actor", who, len(things), tuple(sorted(things)[:_MOST_NAMED]))

    def _begin(self, thing: Thing, now_s: float) -> Watched:
        self.has_changed = True
        watched = self.things[thing] = Watched(now_s)
        return watched

    def _is_learning(self, thing: Thing, settings: Unusual, now_s: float) -> bool:
        watched = self.things.get(thing)  # a connection may use its meter after the thing was forgotten
        return watched is not None and now_s - watched.born_s < settings.learning_s


def _is_too_often(meter: Meter, settings: Unusual) -> bool:
    limit = max(settings.rate_floor, settings.rate_factor * meter.usual)
    return meter.window > limit and not meter.is_told


def _day(now_s: float) -> int:
    return int(now_s // _DAY_S)
