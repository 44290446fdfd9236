"""One call of a service of AWS: repeated while its fault is transient and time is left, and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from secretsd.refresh.sources.aws.errors import fault_of_exception
from secretsd.refresh.sources.faults import CallFailedError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

    from botocore.client import BaseClient

    from secretsd.refresh.sources.aws.session import Timeouts
    from secretsd.refresh.sources.clocks import Clocks

T = TypeVar("T")

_MAX_ATTEMPTS = 5
_FIRST_WAIT_S = 0.1  # full jitter: between 0 and this, then twice this, ...
_LONGEST_WAIT_S = 1.0
# What stays free for validating and publishing what has come.
_RESERVE_S = 0.25
# However many calls have to share the time, each may take this long to answer.
_LEAST_READ_S = 1.0


class Calls:
    """The calls of one fetch: all of them end before its deadline, if the answers do not drip."""

    def __init__(
        self,
        client: BaseClient,
        *,
        deadline: float,
        timeouts: Timeouts,
        clocks: Clocks,
        counts: Counter[str],
    ) -> None:
        self._client = client
        self._deadline = deadline
        self._timeouts = timeouts
        self._clocks = clocks
        self._counts = counts
        self._share_ends = deadline  # of the call under way
        service = event_name(client)
        client.meta.events.register(f"before-call.{service}", self._shorten_read_timeout)
        client.meta.events.register(f"before-send.{service}", self._count)

    def time_left_s(self) -> float:
        """Seconds in which a call may still be begun; none are left at 0 or below."""
        return self._deadline - self._clocks.monotonic() - self._timeouts.connect_s - _RESERVE_S

    def call(
        self,
        operation: str,
        params: Mapping[str, object],
        read: Callable[[Mapping[str, object]], T],
        *,
        share_s: float,
        once: bool = False,
    ) -> T:
        """`read` of the answer. Repeats and waits for it only while `share_s` seconds have not gone by.

        With `once` it is not repeated.

        Each attempt is given at least a second to answer, so that many calls that share little time have a
        chance, and at most `read_s` of the timeouts.

        Raises:
            CallFailedError: with the fault of the last attempt; `read` may raise it too, to have it repeated.
        """
        self._share_ends = self._clocks.monotonic() + share_s
        policy = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, CallFailedError) and error.fault.retry),
            wait=wait_random_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S),
            stop=lambda state: once or stop_after_attempt(_MAX_ATTEMPTS)(state) or self._is_over(state),
            sleep=self._clocks.sleep,
            reraise=True,
        )
        found: T = policy(self._once, operation, params, read)
        return found

    def _once(
        self, operation: str, params: Mapping[str, object], read: Callable[[Mapping[str, object]], T]
    ) -> T:
        try:
            answer = getattr(self._client, operation)(**params)
        except Exception as error:  # noqa: BLE001 - its parser raises anything on an answer that lies
            fault = fault_of_exception(error, self._clocks.wall())
        else:
            return read(answer)
        # Raised outside the handler: an SDK error holds request, signature or answer, and would stay
        # attached as the context of ours.
        raise CallFailedError(fault)

    def _is_over(self, state: RetryCallState) -> bool:
        wait_s = state.upcoming_sleep
        return self._clocks.monotonic() + wait_s >= self._share_ends or wait_s >= self.time_left_s()

    def _shorten_read_timeout(self, context: dict[str, Any], **_: object) -> None:
        now = self._clocks.monotonic()
        share_s = max(_LEAST_READ_S, self._share_ends - now)
        context["read_timeout"] = max(0.1, min(self._timeouts.read_s, share_s, self._deadline - now))

    def _count(self, event_name: str, **_: object) -> None:
        self._counts[event_name.rpartition(".")[2]] += 1


def event_name(client: BaseClient) -> str:
    """What the SDK calls the client's service in its events: "secrets-manager"."""
    return str(client.meta.service_model.service_id.hyphenize())
