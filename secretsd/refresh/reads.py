"""Which reads of secrets are put on record one by one, and which as one line: fetched again, as before. Pure.

A read is news where its version or its failure differs from the last record of the same secret, after a start
of the daemon, and once a day. Between two of these lines the trail says how often it was read, and when.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from secretsd.errors import FailureClass
from secretsd.model import SecretRead, SecretRef

IN_FULL_EVERY_S = 86_400.0
_NO = (FailureClass.REFUSAL, FailureClass.IDENTITY)  # somebody said no; all else is a failure


class Outcome(NamedTuple):
    """How a read ended, in the words of the records."""

    result: Literal["ok", "refused", "failed"]
    reason: str = ""


def outcome(failure_class: FailureClass, code: str) -> Outcome:
    return Outcome("refused" if failure_class in _NO else "failed", code)


def outcome_of(read: SecretRead) -> Outcome:
    failure = read.failure
    return Outcome("ok") if failure is None else outcome(failure.failure_class, failure.code)


class Reads:
    """What the trail has said of each secret last."""

    def __init__(self) -> None:
        self._said: dict[SecretRef, tuple[str, Outcome, float]] = {}
        self._early: set[SecretRef] = set()  # said before their source's fetch had ended

    def early(self, reads: Iterable[SecretRead], now: float) -> list[SecretRead]:
        """Those that are news: said ahead of what is made of them. `now` is monotonic seconds."""
        news = [read for read in reads if self._is_news(read, now)]
        self._early |= {read.ref for read in news}
        return news

    def sorted(
        self, reads: Sequence[SecretRead], now: float
    ) -> tuple[list[SecretRead], Mapping[Outcome, list[str]]]:
        """Of a whole fetch: the news, and the ids of all others by their outcome."""
        news, again = [], defaultdict(list)
        for read in reads:
            if self._is_news(read, now):
                news.append(read)
            elif read.ref not in self._early:
                again[outcome_of(read)].append(read.ref.id)
        self._early -= {read.ref for read in reads}
        return news, again

    def _is_news(self, read: SecretRead, now: float) -> bool:
        said = self._said.get(read.ref)
        # Who only looks whether a secret can be had does not say which version it has.
        told = read.version_id or (said[0] if said else ""), outcome_of(read)
        if said is not None and said[:2] == told and now - said[2] < IN_FULL_EVERY_S:
            return False
        self._said[read.ref] = (*told, now)
        return True
