"""When a bundle is due again. Pure: the random number and the clock come in as arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from secretsd.errors import Failure, FailureClass

# The first retry comes soon, since most outages are short; full jitter keeps hosts apart.
_FIRST_RETRY_S = 5.0
_SHORTEST_RETRY_S = 1.0
# Of one round, whose worker has 7 s to fetch and to publish: 20 batches of AWS, and on a busy host 30 ms for
# each bundle whose intent is journaled before it is shown.
MOST_SECRETS, MOST_BUNDLES = 400, 100
_SOON_AGAIN = frozenset({FailureClass.TRANSIENT, FailureClass.IDENTITY, FailureClass.IO})


def next_due(
    *,
    now: float,
    interval_s: float,
    jitter_s: float,
    failures: tuple[Failure, ...],
    attempts: int,
    dice: float,
    retry_at: float = 0.0,
) -> float:
    """The monotonic time, in seconds, of the next refresh.

    `attempts` counts the failed refreshes in a row, `dice` is uniform in [0, 1). `retry_at` is when the
    endpoint that could not answer is tried again: all that wait for it are then in one round. 0 where none.
    """
    regular_s = interval_s + dice * jitter_s
    if any(failure.failure_class in _SOON_AGAIN for failure in failures):
        if retry_at > 0:
            return min(now + regular_s, max(now, retry_at))
        return now + min(regular_s, retry_delay(attempts, dice, first_s=_FIRST_RETRY_S))
    return now + regular_s


def goes_along(*, due: float, now: float, interval_s: float) -> bool:
    """Whether a bundle that is due at `due` joins a round of its sources that begins now.

    From the half of its interval on: what single refreshes have parted is then together again after one
    interval, and nothing that was just refreshed is asked for once more.
    """
    return due - now <= interval_s / 2


def portion(names: Sequence[str], secrets: Mapping[str, int]) -> frozenset[str]:
    """The first of `names` that fit into one round; at least one, if there is one."""
    taken: list[str] = []
    for name in names[:MOST_BUNDLES]:
        if taken and sum(secrets[each] for each in (*taken, name)) > MOST_SECRETS:
            break
        taken.append(name)
    return frozenset(taken)


def retry_delay(attempts: int, dice: float, *, first_s: float, longest_s: float = 300.0) -> float:
    """Exponential backoff with full jitter, in seconds; `attempts` counts from 1."""
    doublings = min(max(attempts, 1) - 1, 16)
    ceiling = min(longest_s, first_s * 2.0**doublings)
    return max(_SHORTEST_RETRY_S, dice * ceiling)
