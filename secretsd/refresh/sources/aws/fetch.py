"""One fetch under way: which calls it takes, and what each answer says of each secret."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeVar

from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh.sources.aws.errors import NO_SUCH_OPERATION
from secretsd.refresh.sources.faults import DENIED, OUT_OF_TIME, CallFailedError, Fault, Scope
from secretsd.refresh.sources.interface import FetchFailure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from secretsd.refresh.sources.aws.calls import Calls
    from secretsd.refresh.sources.aws.service import Found, Request, Service

T = TypeVar("T")

Outcome = FetchedSecret | FetchFailure


class Fetch:
    """A queue of batches and single secrets, and what was learnt on the way."""

    def __init__(
        self,
        service: Service,
        calls: Calls,
        refs: Sequence[SecretRef],
        *,
        witness: SecretRef | None,
        cautious: bool = False,
    ) -> None:
        self._service = service
        self._texts = service.texts
        self._calls = calls
        self._queue = deque(service.tasks(refs))
        self._witness = witness
        self._granted = False
        self._denied: list[tuple[SecretRef, Fault]] = []
        self._batch_refused = False
        self._cautious = cautious  # nothing is known to answer: one request decides for all

    def outcomes(self) -> Iterator[Outcome]:
        while self._queue:
            if self._calls.time_left_s() <= 0:
                yield from self._give_up(OUT_OF_TIME)
                break
            task = self._queue.popleft()
            try:
                yield from self._run(task)
            except CallFailedError as failed:
                self._queue.appendleft(task)
                yield from self._give_up(failed.fault)
        if self._denied and self._is_witness_granted():
            yield from self._grant()
        for ref, fault in self._denied:
            yield FetchFailure(ref, self._texts.all_denied(fault, ref))

    def _is_witness_granted(self) -> bool:
        """Whether we may still read what we were granted earlier; the value itself is dropped."""
        left_s = self._calls.time_left_s()
        if self._witness is None or left_s <= 0:
            return False
        try:
            _, found = self._single(self._witness, left_s)
        except CallFailedError as failed:
            found = failed.fault
        return isinstance(found, FetchedSecret) or found.code in _TOLD_TO_THE_ALLOWED

    def _give_up(self, fault: Fault) -> Iterator[Outcome]:
        unasked, self._queue = self._queue, deque()
        for task in unasked:
            yield from self._failed(task, fault)

    def _run(self, task: tuple[SecretRef, ...]) -> Iterator[Outcome]:
        """Results of one batch or one secret; what needs another call is put back into the queue.

        Raises:
            CallFailedError: with a fault that every further call would meet; nothing was yielded then.
        """
        # A call that hangs uses up its share of the time, or a second, not the time of the calls behind it.
        share_s = self._calls.time_left_s() / (len(self._queue) + 1)
        try:
            if len(task) == 1:
                outcomes = [self._single(task[0], share_s)]
            else:
                outcomes = list(self._batch(task, share_s))
        except CallFailedError as failed:
            if failed.fault.scope is Scope.SOURCE or (self._cautious and failed.fault.retry):
                raise
            yield from self._failed(task, failed.fault)
            return
        finally:
            self._cautious = False
        for outcome in outcomes:
            yield from self._judged(*outcome)

    def _single(self, ref: SecretRef, share_s: float) -> tuple[SecretRef, Found]:
        found = self._call(self._service.single(ref), share_s)
        doubt = self._service.doubt(ref, found)
        return ref, found if doubt is None else self._call(doubt, share_s)

    def _batch(self, refs: tuple[SecretRef, ...], share_s: float) -> Iterator[tuple[SecretRef, Found]]:
        if self._batch_refused:
            self._ask_alone(refs)
            return
        try:
            found = self._call(self._service.batch(refs), share_s)
        except CallFailedError as failed:
            if failed.fault.scope is not Scope.SECRET:
                raise
            # One id may have failed its neighbours; or the action itself is not allowed here.
            self._batch_refused = self._service.grants_batches_apart and (
                failed.fault.code == DENIED.code or failed.fault is NO_SUCH_OPERATION
            )
            self._ask_alone(refs)
            return
        self._ask_alone([ref for ref in refs if ref not in found])
        yield from found.items()

    def _call(self, request: Request[T], share_s: float) -> T:
        return self._calls.call(
            request.operation, request.params, request.read, share_s=share_s, once=self._cautious
        )

    def _ask_alone(self, refs: Sequence[SecretRef]) -> None:
        self._queue.extend((ref,) for ref in refs)

    def _judged(self, ref: SecretRef, found: Found) -> Iterator[Outcome]:
        if isinstance(found, Fault):
            yield from self._failed((ref,), found)
            return
        yield from self._grant()
        yield found

    def _failed(self, refs: Sequence[SecretRef], fault: Fault) -> Iterator[Outcome]:
        if fault.code == DENIED.code and not self._granted:
            self._denied += [(ref, fault) for ref in refs]
            return
        if fault.scope is Scope.SECRET and fault.code in _TOLD_TO_THE_ALLOWED:
            yield from self._grant()
        for ref in refs:
            yield FetchFailure(ref, self._texts.failure(fault, ref))

    def _grant(self) -> Iterator[Outcome]:
        self._granted = True
        denied, self._denied = self._denied, []
        for ref, fault in denied:
            yield FetchFailure(ref, self._texts.failure(fault, ref))


# AWS looks at permissions first: who is told "missing" or "deleted" was allowed to ask. The last two
# are about a value that came.
_TOLD_TO_THE_ALLOWED = frozenset(
    ("secret-missing", "secret-deleted", "secret-empty", "decryption-failed", "not-utf8", "too-large")
)
