"""Brings requests to the token, in threads with a session each or inline.

All methods are for the event loop's thread. A call that hangs cannot be cancelled, and C_Finalize during a
call is undefined (PKCS#11 2.40, 5.4), so that a call that hangs too long ends the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from secretsd.errors import ExitCode
from secretsd.signing.alarm import Alarm
from secretsd.signing.comeback import Comeback, TokenLike, a_bug, unavailable
from secretsd.signing.errors import SigningError
from secretsd.signing.fair import FairQueue
from secretsd.signing.pkcs11.lane import Lane, NeedsReset, Troubled

log = logging.getLogger(__name__)

Result = Any  # what a job's work returned
_MOST_RESETS = 2  # for one job: one that breaks the token again and again is not given to it for ever
_EXPIRY_CHECK_S = 0.05
_LONG_S = 60.0  # for making a key: RSA takes a token its time
_SURVEY_NS = 60_000_000_000
# Without a patient thread beside it, an inline signer could not recover without blocking its sockets.
_THREADS_BESIDE_INLINE = 2


class Job:
    """One piece of work for the token, and who waits for it.

    With `once` it is done in a thread in any case, may take its time, and is not repeated where the token
    is lost meanwhile: a key that was made twice would be two.
    """

    __slots__ = ("deadline_ns", "done", "key", "once", "resets", "started_s", "uid", "work")

    def __init__(
        self,
        uid: int,
        key: str,
        work: Callable[[Lane], Result],
        done: Callable[[Result | SigningError], None],
        deadline_ns: int,
        *,
        once: bool = False,
    ) -> None:
        self.once = once
        self.uid = uid
        self.key = key
        self.work = work
        self.done = done
        self.deadline_ns = deadline_ns
        self.started_s = 0.0  # monotonic; 0 while it waits
        self.resets = 0

    def is_expired(self, now_ns: int) -> bool:
        return now_ns > self.deadline_ns

    def end(self, result: Result | SigningError) -> None:
        """Calls `done`. What it raises must not keep the others from their answers, or a lost token from its
        reset."""
        try:
            self.done(result)
        except Exception as error:  # noqa: BLE001 - said, and the dispatcher goes on
            a_bug(error)


class Dispatcher:
    """`inline`: calls are made in the loop's thread as long as nothing is wrong."""

    def __init__(
        self, token: TokenLike, *, sessions: int, inline: bool, queue: int, hang_limit_s: float
    ) -> None:
        self._token = token
        self._sessions = _THREADS_BESIDE_INLINE if inline else sessions
        self._inline = inline
        self._queue_limit = queue
        self._hang_limit_s = hang_limit_s
        # One key whose calls hang leaves a quarter of the sessions to the others.
        self._most_of_one_key = max(1, self._sessions - max(1, self._sessions // 4))
        # A little more than there are threads: one that is done finds its next job without the loop.
        self._most_out = self._sessions + max(1, self._sessions // 4)
        self._waiting: FairQueue[Job] = FairQueue()
        self._out: set[Job] = set()
        self._out_of_key: Counter[str] = Counter()
        self._after_reset: list[Job] = []
        self._ready: SimpleQueue[Job | None] = SimpleQueue()
        self._finished: deque[tuple[Job, Result | SigningError | NeedsReset | Troubled]] = deque()
        self._is_woken = False
        self._generation = 0  # of the token's sessions: a reset ends them all
        self._inline_lane: Lane | None = None
        self._loop = asyncio.get_running_loop()
        self._watching: asyncio.TimerHandle | None = None
        self._alarm = Alarm(hang_limit_s)
        self._comeback = Comeback(token, self.bring_up, self._go_on, self._do_without)
        self._threads = [
            threading.Thread(target=self._serve, name=f"session-{number}", daemon=True)
            for number in range(self._sessions)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def trouble(self) -> SigningError | None:
        """Why the token cannot be used now; None where it can."""
        return self._comeback.trouble or self._token.latched

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def submit(self, job: Job) -> None:
        """Runs `job`; its `done` is called on the loop, maybe before this returns.

        Raises: SigningError queue-full, or the token's trouble.
        """
        if self._inline and self._comeback.is_over and not job.once:
            self._run_inline(job)
            return
        if (trouble := self.trouble) is not None:
            raise trouble
        if not self._waiting and self._has_room() and not self._has_its_share(job.key):
            self._give(job)  # the usual case, without the queue
            self._watch_soon()
            return
        if len(self._waiting) >= self._queue_limit:
            raise SigningError(
                "queue-full",
                "too many requests wait for the token",
                advice="ask again in a moment; if this lasts, raise sessions or lower the load",
            )
        self._waiting.put(job.uid, job.key, job)
        self._feed()

    def bring_up(self, then: Callable[[SigningError | None], None] | None = None) -> None:
        """Opens the token, or resets it, in the background; tries again until it is there.

        `then` is called once, with how the first attempt ended.
        """
        self._inline_lane = None
        self._comeback.ask(then)
        self._watch_soon()
        if not self._out:
            self._comeback.begin()

    def survey(self, then: Callable[[], None]) -> None:
        """Has the configured keys found anew, in the background, and calls `then`."""

        def surveyed(result: Result | SigningError) -> None:
            if isinstance(result, SigningError):
                log.error("the keys could not be looked up", extra={"reason": result.sentence})
            then()

        if self.trouble is None:
            deadline_ns = time.monotonic_ns() + _SURVEY_NS
            job = Job(0, "", lambda lane: lane.survey(), surveyed, deadline_ns, once=True)
            self._waiting.put(0, "", job)
            self._feed()

    def stop(self) -> None:
        """Ends the threads once their calls have ended. Does not wait."""
        self._comeback.stop()
        self._alarm.stop()
        if self._watching is not None:
            self._watching.cancel()
        for _ in self._threads:
            self._ready.put(None)

    def join(self, timeout_s: float) -> None:
        """Waits for the threads after `stop`; blocks."""
        for thread in self._threads:
            thread.join(timeout_s)
        self._comeback.join(timeout_s)

    # Inline -----------------------------------------------------------------------------------------------

    def _run_inline(self, job: Job) -> None:
        if job.is_expired(time.monotonic_ns()):
            job.end(_expired())
            return
        self._alarm.expect_calls()
        try:
            if self._inline_lane is None:
                self._inline_lane = self._token.lane(patient=False)
            result = job.work(self._inline_lane)
        except SigningError as error:
            result = error
        except (Troubled, NeedsReset):
            # Recovery may have to wait, which a thread does better.
            self._drop_inline_lane()
            self._waiting.put(job.uid, job.key, job)
            self._feed()
            return
        except Exception as error:  # noqa: BLE001 - one request's bug must not end the others
            result = a_bug(error)
        job.end(result)

    def _drop_inline_lane(self) -> None:
        if self._inline_lane is not None:
            self._inline_lane.close()
            self._inline_lane = None

    # Threads ----------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        """A thread's life: a job, its session, the next job."""
        lane: Lane | None = None
        generation = -1
        while (job := self._ready.get()) is not None:
            job.started_s = time.monotonic()
            if generation != self._generation:
                lane, generation = None, self._generation
            result: Any
            try:
                if job.is_expired(time.monotonic_ns()):
                    raise _expired()
                if lane is None:
                    lane = self._token.lane()
                result = job.work(lane)
            except (SigningError, NeedsReset) as error:
                result = error
            except Exception as error:  # noqa: BLE001 - one request's bug must not end the thread
                result = a_bug(error)
            self._finished.append((job, result))
            if not self._is_woken:
                # One wake-up for all that finish before the loop gets to it.
                self._is_woken = True
                with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever waits
                    self._loop.call_soon_threadsafe(self._collect)

    def _collect(self) -> None:
        self._is_woken = False
        needs_reset = False
        while self._finished:
            job, result = self._finished.popleft()
            self._out.discard(job)
            self._out_of_key[job.key] -= 1
            if isinstance(result, NeedsReset):
                needs_reset = True
                self._keep_for_after_reset(job)
            else:
                job.end(result)
        if needs_reset:
            self.bring_up()
        elif self._comeback.is_asked:
            if not self._out:
                self._comeback.begin()
        else:
            self._feed()

    def _feed(self) -> None:
        while self._waiting and self._has_room():
            job = self._waiting.take(self._has_its_share)
            if job is None:
                break
            self._give(job)
        if self._out or self._waiting:
            self._watch_soon()

    def _has_room(self) -> bool:
        return len(self._out) < self._most_out and not self._comeback.is_asked

    def _give(self, job: Job) -> None:
        job.started_s = 0.0
        self._out.add(job)
        self._out_of_key[job.key] += 1
        self._ready.put(job)

    def _watch_soon(self) -> None:
        if self._watching is None:
            self._watching = self._loop.call_later(_EXPIRY_CHECK_S, self._watch)

    def _has_its_share(self, key: str) -> bool:
        return self._out_of_key[key] >= self._most_of_one_key

    def _watch(self) -> None:
        """While something is under way: ends what waited too long, and the process where a call hangs."""
        self._watching = None
        now_s, now_ns = time.monotonic(), time.monotonic_ns()
        for job in self._out:
            limit_s = max(self._hang_limit_s, _LONG_S) if job.once else self._hang_limit_s
            self._end_if_it_hangs(job.key, job.started_s, now_s, limit_s)
        self._end_if_it_hangs("-", self._comeback.since_s, now_s, self._hang_limit_s)
        for job in self._waiting.remove_where(lambda each: each.is_expired(now_ns)):
            job.end(_expired())
        if self._out or self._waiting or self._comeback.is_asked:
            self._watch_soon()

    def _end_if_it_hangs(self, key: str, since_s: float, now_s: float, limit_s: float) -> None:
        if since_s and now_s - since_s > limit_s:
            log.critical(
                "a call of the token hangs: the signer ends, systemd starts it anew",
                extra={"key": key, "seconds": round(now_s - since_s, 1)},
            )
            # Not sys.exit: the thread that hangs would hold up the interpreter's end.
            os._exit(ExitCode.UNAVAILABLE)

    # When the token is lost -------------------------------------------------------------------------------

    def _keep_for_after_reset(self, job: Job) -> None:
        job.resets += 1
        if job.once or job.resets > _MOST_RESETS:
            job.end(unavailable())
        else:
            self._after_reset.append(job)

    def _go_on(self) -> None:
        # Only now: a session that was opened while the calls under way ended did not outlive the reset, and
        # its handles may be those of other keys by now.
        self._generation += 1
        again, self._after_reset = self._after_reset, []
        for job in again:
            self._waiting.put(job.uid, job.key, job)
        self._feed()

    def _do_without(self, trouble: SigningError) -> None:
        again, self._after_reset = self._after_reset, []
        for job in [*again, *self._waiting.remove_where(lambda _: True)]:
            job.end(trouble)


def _expired() -> SigningError:
    return SigningError(
        "deadline-expired",
        "the deadline passed before the token was asked",
        advice="ask again, with more time",
    )
