"""What the conductor knows of each bundle. Mutable, owned by the conductor's event loop, without values."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from secretsd.errors import Failure
from secretsd.model import Candidate, PublishRecord, Rejected, SecretVersion, UnitReport, Unsealed
from secretsd.refresh.journal import Entry
from secretsd.refresh.plan import Observed
from secretsd.refresh.sealed.choice import Copies
from secretsd.refresh.units.gates import WaitUntil


@dataclass(slots=True)
class Delivery:
    """Telling one unit of one generation."""

    generation: int = 0  # the generation that the last report is about
    report: UnitReport | None = None
    last_failure: UnitReport | None = None  # on this generation; what came after it may explain less
    failed_attempts: int = 0
    waits: int = 0  # times that the unit was found starting, or that its acknowledgement was missing
    retry_at: float = 0.0  # monotonic seconds
    wait: WaitUntil | None = None  # what the unit waits for, where the report says "waiting"
    refusals: int = 0  # times that `before` said no, since it last said yes or the unit had loaded
    unwilling_since: float | None = None  # when it said no first, monotonic seconds
    is_overdue: bool = False  # `before` has kept the unit from being told for longer than before_alarm
    reported_at: float = 0.0  # when the last report came, monotonic seconds
    in_progress: bool = False
    outcomes: Counter[str] = field(default_factory=Counter)  # of all reports, since this start of the daemon

    def agreed(self) -> None:
        """Nothing that `before` said so far counts any more."""
        self.refusals, self.unwilling_since, self.is_overdue = 0, None, False

    def refused(self, now: float) -> None:
        """`before` has said no at `now`, in monotonic seconds."""
        self.refusals += 1
        self.unwilling_since = now if self.unwilling_since is None else self.unwilling_since

    def loaded(self) -> None:
        """The unit waits for nothing any more, whoever brought it to its generation."""
        self.wait = None
        self.agreed()


@dataclass(slots=True)
class Drift:
    """What was done to a bundle's published files by somebody else, since this start of the daemon."""

    count: int = 0
    last_at: float | None = None  # seconds since the epoch
    last: tuple[str, ...] = ()  # a clause for each difference
    is_open: bool = False  # found and not yet repaired
    repairs: int = 0  # in a row, without a quiet time between them
    repaired_at: float = float("-inf")  # monotonic seconds, when the last repair began


@dataclass(frozen=True, slots=True)
class Intent:
    """Why a generation is about to be shown."""

    generation: int
    reason: str
    by: str = ""


@dataclass(slots=True)
class BundleState:
    """One bundle on this host."""

    record: PublishRecord | None = None
    entry: Entry = field(default_factory=Entry)
    versions: tuple[
        SecretVersion, ...
    ] = ()  # as last confirmed; newer than the record's if content is the same
    ignored: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    confirmed_at: float | None = None  # seconds since the epoch
    confirmed_monotonic: float | None = None
    failures: tuple[Failure, ...] = ()
    failing_since: float | None = None  # seconds since the epoch
    failed_attempts: int = 0
    begun: int = 0  # the number of the refresh that began last
    ended: int = 0  # the number of the refresh that ended last, well or not
    results: Counter[str] = field(default_factory=Counter)  # of refreshes: "ok", or a class of failure
    given: int = 0  # the highest generation's number that was given
    dice: float = 0.0  # of the last refresh, in [0, 1): bundles of one round stay together
    next_due: float = 0.0  # monotonic seconds
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    drift: Drift = field(default_factory=Drift)
    same_content: set[int] = field(default_factory=set)  # former generations with what is shown now
    intent: Intent | None = None  # of the generation that was given last
    held_back: tuple[SecretVersion, ...] = ()  # what the source has while an operator holds something else
    sealed: Copies = field(default_factory=dict)  # the copies on the disk, by generation
    sealed_problem: Failure | None = None  # why the last copy was not made
    unsealed: Unsealed | None = None  # what is published came from a copy, and no source has confirmed it
    refused_copy: Failure | None = None  # why nothing could be published from a copy

    def delivery(self, unit: str) -> Delivery:
        return self.deliveries.setdefault(unit, Delivery())

    def observed(self, *, result: Candidate | Rejected | None, intact: bool) -> Observed:
        """This state as the plan wants it."""
        return Observed(
            published=self.record,
            intact=intact,
            last_generation=self.given,
            result=result,
            hold=self.entry.hold,
            history=self.entry.history,
            sealed=self.sealed,
            loaded=self.entry.loaded,
            retry_at={
                unit: delivery.retry_at
                for unit, delivery in self.deliveries.items()
                # What is newer than the last try need not wait for its retry.
                if self.record is not None and delivery.generation == self.record.generation
            },
        )

    def age_s(self, monotonic: float) -> float | None:
        """Seconds since the source confirmed what is published; None where that is not known."""
        if self.record is None or self.confirmed_monotonic is None:
            return None
        return max(0.0, monotonic - self.confirmed_monotonic)

    def confirm(self, candidate: Candidate, *, wall: float, monotonic: float) -> None:
        """The source has just answered with what is published, or with what an operator holds back.

        The operator's word then stands for the source's: a bot that insists on a fresh bundle must be able to
        start on what it was rolled back to.
        """
        if candidate.digest == (self.record.digest if self.record else None):
            self.versions, self.held_back = candidate.versions, ()
        else:
            self.held_back = candidate.versions
        self.ignored = candidate.ignored
        self.unsealed = self.refused_copy = None
        self.results["ok"] += 1
        self.confirmed_at = wall
        self.confirmed_monotonic = monotonic
        self.failures = ()
        self.failing_since = None
        self.failed_attempts = 0

    def take_over(self, *, wall: float, monotonic: float) -> None:
        """What is published may have come from a sealed copy: its age is then that of the copy."""
        self.unsealed = self.record.unsealed if self.record else None
        if self.unsealed is not None:
            self.confirmed_at = self.unsealed.confirmed_at
            self.confirmed_monotonic = monotonic - (wall - self.unsealed.confirmed_at)

    def kept(self) -> str:
        """What stays while the bundle cannot be refreshed, in words."""
        if self.record is None:
            return "nothing is published"
        return "what came from the sealed copy stays" if self.unsealed else "the last good generation stays"

    def show(self, record: PublishRecord) -> None:
        """`record` is what is published from now on."""
        former, self.record = self.record, record
        if former is not None and former.digest == record.digest:
            self.same_content.add(former.generation)
        else:
            self.same_content.clear()
            self.versions = record.versions  # else those that were confirmed last, which may be newer

    def shown_as(self, generation: int) -> int:
        """The generation that shows the content of `generation` now, if one does, and else itself."""
        is_shown = self.record is not None and generation in self.same_content
        return self.record.generation if self.record is not None and is_shown else generation

    def forget(self) -> None:
        """Nothing is published any more."""
        self.record = None
        self.same_content.clear()
        self.intent = None
        self.drift.is_open = False
        self.versions = self.held_back = ()
        self.ignored = {}
        self.confirmed_at = self.confirmed_monotonic = self.unsealed = None

    def fail(self, failures: tuple[Failure, ...], *, wall: float) -> None:
        self.failures = failures
        self.results[failures[0].failure_class.value] += 1
        self.failing_since = self.failing_since if self.failing_since is not None else wall
        self.failed_attempts += 1


class Changes:
    """Wakes whoever waits for any state to change."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def announce(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def next(self) -> None:
        """Returns at the next change."""
        await self._event.wait()

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Whether `condition` became true within `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await self._event.wait()
        except TimeoutError:
            return condition()
        return True
