"""1,000 hosts when an outage ends: the highest number of requests in a second, by simulation.

    python -m tests.bench.herd

Each host decides with the daemon's own schedule and circuit breaker when to ask again; dice are seeded. All
were started at the same moment, as by one deployment. A host asks with one request, as for 20 secrets; what
it repeats within its first failing fetch is left out. "Without jitter" is the same with dice that always fall
on the longest wait.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable

from secretsd.errors import Failure, FailureClass
from secretsd.refresh.schedule import next_due
from secretsd.refresh.source_book.breaker import Breaker
from tests.bench.figures import Figure, table

HOSTS = 1000
_INTERVAL_S, _JITTER_S = 300.0, 30.0  # the defaults
_LONGEST_RETRY_S = 300.0
_OUTAGE_S = (3600.0, 3600.0 + 6 * 3600.0)
_ENDS_S = _OUTAGE_S[1] + 1800.0
_BATCHES_A_SECOND = 100  # BatchGetSecretValue, for each account and region
_FAILURE = (Failure("server-error", FailureClass.TRANSIENT, "an outage", "wait"),)


def measure() -> list[Figure]:
    seeded = random.Random(20261124)
    with_jitter = requests_by_second(seeded.random)
    without = requests_by_second(lambda: 1.0)
    what = f"{HOSTS} hosts after an outage of 6 h, highest requests in a second"
    return [
        Figure(
            what,
            _peak(with_jitter, *_AFTER),
            "",
            _BATCHES_A_SECOND,
            note="simulated; AWS allows 100 BatchGetSecretValue a second",
        ),
        Figure(f"{what}, without jitter", _peak(without, *_AFTER), "", note="dice fixed at 1"),
        Figure(
            f"{HOSTS} hosts in an outage, highest requests in a second",
            _peak(with_jitter, *_DURING),
            "",
            note="from the second interval on",
        ),
        Figure(
            f"{HOSTS} hosts after an outage, until all have asked",
            _all_asked_s(with_jitter),
            "s",
            _LONGEST_RETRY_S + 1,
            note="the longest wait is the interval",
        ),
    ]


_AFTER = (_OUTAGE_S[1], _ENDS_S)
_DURING = (_OUTAGE_S[0] + _INTERVAL_S + _JITTER_S, _OUTAGE_S[1])


def requests_by_second(dice: Callable[[], float]) -> Counter[int]:
    """How many requests the service gets in each second, of all hosts together."""
    found: Counter[int] = Counter()
    # When each host asks next, who it is, and how it has fared.
    hosts = [(0.0, host, Breaker()) for host in range(HOSTS)]
    heapq.heapify(hosts)
    while hosts[0][0] < _ENDS_S:
        now, host, breaker = heapq.heappop(hosts)
        found[int(now)] += 1
        is_out = _OUTAGE_S[0] <= now < _OUTAGE_S[1]
        if is_out:
            breaker = breaker.failed(
                "server-error", now=now, wall=now, dice=dice(), longest_s=_LONGEST_RETRY_S
            )
        else:
            breaker = breaker.answered()
        due = next_due(
            now=now,
            interval_s=_INTERVAL_S,
            jitter_s=_JITTER_S,
            failures=_FAILURE if is_out else (),
            attempts=breaker.failures,
            dice=dice(),
            retry_at=breaker.retry_at,
        )
        heapq.heappush(hosts, (max(due, breaker.retry_at), host, breaker))
    return found


def _peak(requests: Counter[int], start_s: float, end_s: float) -> int:
    return max(count for second, count in requests.items() if start_s <= second < end_s)


def _all_asked_s(requests: Counter[int]) -> float:
    """How long after the outage's end as many requests had come as there are hosts."""
    count, second = 0, int(_OUTAGE_S[1])
    while count < HOSTS:
        count += requests[second]
        second += 1
    return second - _OUTAGE_S[1]


if __name__ == "__main__":
    print(table(measure()))
