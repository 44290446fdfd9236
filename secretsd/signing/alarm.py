"""Ends the process where a call in the loop's own thread hangs: nothing of ours runs meanwhile."""

from __future__ import annotations

import asyncio
import signal

_RHYTHM_S = 0.25


class Alarm:
    """The kernel's timer with SIGALRM's default action, which ends the process (setitimer(2), signal(7)).

    Setting it for each call would cost more than all of the audit; so it is set ahead, put off four times a
    second while calls are made, and taken back when there were none. A call that hangs ends the process
    between the limit and a quarter of a second later.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._is_set = False
        self._was_needed = False

    def expect_calls(self) -> None:
        """A call is about to be made on this thread."""
        self._was_needed = True
        if not self._is_set:
            self._set()

    def stop(self) -> None:
        """No calls are made any more."""
        if self._is_set:
            self._is_set = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _set(self) -> None:
        self._is_set, self._was_needed = True, False
        signal.setitimer(signal.ITIMER_REAL, self._limit_s + _RHYTHM_S)
        asyncio.get_running_loop().call_later(_RHYTHM_S, self._look)

    def _look(self) -> None:
        if self._was_needed and self._is_set:
            self._set()
        else:
            self.stop()
