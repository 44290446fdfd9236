"""A secret's replicas in other regions: asked when its own region cannot answer, believed with care."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from secretsd.errors import Failure, FailureClass
from secretsd.model import EndpointSeen, FetchedSecret, Floor, Route, SecretRef, SourceView, Stop
from secretsd.refresh.source_book.floors import is_below
from secretsd.refresh.sources.aws.errors import FAILS_OVER
from secretsd.refresh.sources.interface import FetchFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from secretsd.model import Identity
    from secretsd.refresh.sources.aws.fetch import Outcome
    from secretsd.refresh.sources.interface import RemoteSource

# A region that hangs leaves this part of the time to the next one.
_SHARE = 0.5
# A client begins nothing that it could not end: of this, 2 s are for a connection.
_PROBE_S = 3.5


class OpenStop(Protocol):
    """Opens the source of one stop; contacts nothing."""

    def __call__(self, stop: Stop, identity: Identity | None, cautious: bool) -> RemoteSource:  # noqa: FBT001
        ...


class RegionalSource:
    """Secrets of one account, at the stops of `route`. Contacts nothing before `fetch`.

    The primary region's word is final, a refusal above all: what it refuses is not asked for elsewhere. What
    a replica has is taken unless it is below its floor, and what a replica refuses is not a refusal: it may
    never have had the secret. `open_stop` opens the source of one stop.
    """

    def __init__(
        self,
        route: Route,
        floors: Mapping[SecretRef, Floor],
        identity: Identity | None,
        open_stop: OpenStop,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._route = route
        self._floors = floors
        self._identity = identity
        self._open_stop = open_stop
        self._monotonic = monotonic
        self._opened: list[RemoteSource] = []

    @property
    def identity(self) -> Identity | None:
        """The credentials that were given or found; they are the same in every region."""
        return self._identity

    @property
    def calls(self) -> Mapping[str, int]:
        """Requests sent so far, to all regions."""
        return sum((Counter(source.calls) for source in self._opened), Counter[str]())

    @property
    def endpoints(self) -> tuple[EndpointSeen, ...]:
        """How each region did that was asked."""
        seen = {each.endpoint: each for source in self._opened for each in source.endpoints}
        return tuple(seen.values())

    @property
    def view(self) -> SourceView:
        """Of the region that was asked last."""
        return self._opened[-1].view if self._opened else SourceView()

    def fetch(self, refs: Sequence[SecretRef], *, deadline: float) -> Iterator[Outcome]:
        """Yield one result for each distinct ref; see `Source.fetch`."""
        pending: dict[SecretRef, FetchFailure | None] = dict.fromkeys(refs)
        last = self._route.stops[-1]
        for stop in self._route.stops:
            if not pending:
                break
            now = self._monotonic()
            ends = deadline if stop is last else now + (deadline - now) * _SHARE
            for outcome in self._ask(stop, tuple(pending), ends, cautious=self._route.cautious):
                settled = self._judged(stop, outcome)
                if settled is None:
                    pending[outcome.ref] = self._graver(pending[outcome.ref], stop, outcome)
                else:
                    del pending[outcome.ref]
                    yield settled
        yield from (failure for failure in pending.values() if failure is not None)
        if self._route.probe is not None and refs:
            self._probe(self._route.probe, refs[0], deadline)

    def _ask(
        self, stop: Stop, refs: Sequence[SecretRef], deadline: float, *, cautious: bool
    ) -> Iterator[Outcome]:
        source = self._open_stop(stop, self._identity, cautious)
        self._opened.append(source)
        yield from source.fetch(refs, deadline=deadline)
        self._identity = source.identity or self._identity

    def _probe(self, stop: Stop, ref: SecretRef, deadline: float) -> None:
        if all(each.endpoint != stop.endpoint for each in self.endpoints):
            ends = min(deadline, self._monotonic() + _PROBE_S)
            for _ in self._ask(stop, (ref,), ends, cautious=True):
                pass

    def _judged(self, stop: Stop, outcome: Outcome) -> Outcome | None:
        """The outcome if it is the last word; None where another region may know better."""
        if stop.is_primary:
            fails_over = isinstance(outcome, FetchFailure) and outcome.failure.code in FAILS_OVER
            return None if fails_over else outcome
        if isinstance(outcome, FetchFailure):
            return None
        floor = self._floors.get(outcome.ref)
        is_old = floor is not None and is_below(floor, outcome.version_id, outcome.created_at)
        return None if is_old else outcome

    def _graver(self, former: FetchFailure | None, stop: Stop, outcome: Outcome) -> FetchFailure:
        """What to say if no region helps: what is wrong with the primary, then what its replica lacks."""
        if isinstance(outcome, FetchedSecret):
            return _behind(stop, outcome.ref)
        if not stop.is_primary:
            outcome = _not_a_refusal(stop, outcome)
        if former is None or stop.is_primary or former.failure.code == _STALE:
            return outcome if former is None or former.failure.code != _STALE else former
        return former


_STALE = "replica-behind"


def _behind(stop: Stop, ref: SecretRef) -> FetchFailure:
    failure = Failure(
        code=_STALE,
        failure_class=FailureClass.TRANSIENT,
        message=f"the replica of {ref} in {stop.region} is older than what is published, so it was not used",
        advice="Nothing to do if it passes: what is published stays until the region of the secret answers"
        " or its replica has caught up. If it stays: see ReplicationStatus of aws secretsmanager"
        " describe-secret.",
        secret=ref.id,
    )
    return FetchFailure(ref, failure)


def _not_a_refusal(stop: Stop, outcome: FetchFailure) -> FetchFailure:
    """A replica's refusal proves nothing about the secret: it may not be replicated there."""
    failure = outcome.failure
    if failure.failure_class in (FailureClass.TRANSIENT, FailureClass.IDENTITY):
        return outcome
    message = f"{failure.message} (in {stop.region}, which is asked while its own region does not answer)"
    return replace(outcome, failure=replace(failure, failure_class=FailureClass.TRANSIENT, message=message))
