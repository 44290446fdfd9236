"""What the conductor knows of its sources: who we are there, what they grant, which endpoint answers.

It has no bundle's secret, and but for the counts of calls it dies with the daemon: after a start every
endpoint is believed to answer.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from secretsd.config.models import Bundle, Config
from secretsd.config.sources import SourceConfig
from secretsd.errors import Failure, FailureClass
from secretsd.model import Candidate, EndpointSeen, Floor, Identity, SecretRef
from secretsd.refresh import messages
from secretsd.refresh.source_book import regions
from secretsd.refresh.source_book.breaker import Breaker
from secretsd.refresh.source_book.call_book import CallBook
from secretsd.refresh.source_book.endpoints import stops
from secretsd.refresh.source_book.identity import needs_refresh
from secretsd.refresh.source_book.regions import RegionInUse

log = logging.getLogger(__name__)

_LONGEST_RETRY_S = 300.0


@dataclass(frozen=True, slots=True)
class Terms:
    """How a round asks its sources."""

    floors: Mapping[SecretRef, Floor] = field(default_factory=dict)
    by_hand: bool = False  # somebody wants what is true now: the home region first, wherever we are


@dataclass(slots=True)
class SourceState:
    """One source, by its name in the configuration."""

    identity: Identity | None = None
    identity_of: SourceConfig | None = None  # the table that it was had by: another one may mean another role
    granted: set[SecretRef] = field(default_factory=set)
    use: RegionInUse = field(default_factory=RegionInUse)
    fetches: Counter[str] = field(default_factory=Counter)  # since this start: "answers" and "fails"
    skew_s: float | None = None  # by how much this host's clock is ahead of the service's


class SourceBook:
    """All sources and the breakers of all endpoints. Owned by the conductor's event loop."""

    def __init__(self) -> None:
        self.sources: dict[str, SourceState] = {}
        self.breakers: dict[str, Breaker] = {}  # by endpoint: two sources may ask the same one
        self.calls = CallBook()

    def state(self, source: str) -> SourceState:
        return self.sources.setdefault(source, SourceState())

    def job(
        self, config: Config, source: str, asked: Collection[SecretRef], terms: Terms
    ) -> messages.SourceJob:
        """What a worker needs to fetch `asked` from `source`."""
        table, known = config.sources[source], self.state(source)
        ways = stops(table)
        if not ways:
            return messages.SourceJob(table)
        # A home that has held up a worker until its end would do so again: probes find out when it is well.
        home_hangs = self.breakers.get(ways[0].endpoint, Breaker()).code == regions.SILENT
        use = RegionInUse() if terms.by_hand and not home_hangs else known.use
        route = regions.route(ways, use, now=time.monotonic())
        first = self.breakers.get(route.stops[0].endpoint, Breaker())
        identity = known.identity if known.identity_of == table else None
        return messages.SourceJob(
            config=table,
            route=replace(route, cautious=first.wants_caution),
            floors={ref: terms.floors[ref] for ref in asked if ref in terms.floors},
            identity=identity,
            renew_identity=needs_refresh(identity, time.time()),
            witness=min(known.granted - set(asked), key=str, default=None),
        )

    # --- what workers tell -----------------------------------------------------------------------------

    def keep_identity(self, config: Config, source: str, identity: Identity) -> None:
        """For the next worker, as long as the source's table stays as it is in `config`."""
        known = self.state(source)
        known.identity, known.identity_of = identity, config.sources.get(source)

    def heard(self, config: Config, told: messages.SourceAsked) -> None:
        """What asking a source took."""
        if told.source not in config.sources:
            return
        known = self.state(told.source)
        self.calls.count(told.source, told.calls)
        if told.skew_s is not None:
            known.skew_s = told.skew_s
        self._see(config, told.source, told.endpoints)

    def count_calls(self, source: str, calls: Mapping[str, int]) -> None:
        """Requests that were sent for a source beside its fetches, by operation."""
        self.calls.count(source, calls)

    def lost(self, config: Config, source: str, endpoint: str) -> None:
        """A worker was killed while `source` waited for this endpoint."""
        self._see(config, source, (EndpointSeen(endpoint, "fails", regions.SILENT),))

    def _see(self, config: Config, source: str, seen: Collection[EndpointSeen]) -> None:
        now, wall, known = time.monotonic(), time.time(), self.state(source)
        if seen:
            known.fetches["answers" if any(each.did == "answers" for each in seen) else "fails"] += 1
        for each in seen:
            breaker = self.breakers.get(each.endpoint, Breaker())
            if each.did == "answers":
                self.breakers[each.endpoint] = breaker.answered()
                if breaker.wants_caution:
                    log.info("endpoint answers again", extra={"source": source, "endpoint": each.endpoint})
                continue
            longest_s = min(_LONGEST_RETRY_S, _interval_s(config, source))
            self.breakers[each.endpoint] = breaker.failed(
                each.code, now=now, wall=wall, dice=random.random(), longest_s=longest_s
            )
        former = known.use
        known.use = regions.after(stops(config.sources[source]), former, tuple(seen), now=now, wall=wall)
        if known.use.endpoint != former.endpoint:
            where = known.use.endpoint or stops(config.sources[source])[0].endpoint
            log.warning("source is asked in another region now", extra={"source": source, "endpoint": where})

    def learn(self, bundle: Bundle, result: Candidate | tuple[Failure, ...]) -> None:
        """Remembers who was granted what, and drops an identity that its source does not accept."""
        refs = {secret.ref for secret in bundle.secrets}
        if isinstance(result, Candidate):
            for ref in refs:
                self.state(ref.source).granted.add(ref)
            return
        for failure in result:
            for ref in refs:
                if failure.secret in (ref.id, str(ref)):
                    self.state(ref.source).granted.discard(ref)
                    if failure.failure_class is FailureClass.IDENTITY:
                        self.state(ref.source).identity = None

    # --- what it means for the schedule ----------------------------------------------------------------

    def retry_at(self, config: Config, bundle: Bundle) -> float:
        """Before this monotonic time nobody asks by himself for `bundle`; 0 where its sources answer."""
        if all(breaker.is_closed for breaker in self.breakers.values()):
            return 0.0  # nearly always, and asked for each bundle whenever the conductor wakes
        names = {secret.source for secret in bundle.secrets} & config.sources.keys()
        return max((self._source_retry_at(config, name) for name in names), default=0.0)

    def is_out(self, config: Config, source: str) -> bool:
        """Whether no endpoint of the source answers."""
        return self._source_retry_at(config, source) > 0

    def _source_retry_at(self, config: Config, source: str) -> float:
        ways = [self.breakers.get(stop.endpoint, Breaker()) for stop in stops(config.sources[source])]
        if not ways or any(breaker.is_closed for breaker in ways):
            return 0.0
        return min(breaker.retry_at for breaker in ways)


def _interval_s(config: Config, source: str) -> float:
    """The shortest interval of the bundles that want this source: none waits longer for an outage's end."""
    intervals = [
        config.interval_s(name)
        for name, bundle in config.bundles.items()
        if any(secret.source == source for secret in bundle.secrets)
    ]
    return min(intervals, default=_LONGEST_RETRY_S)
