"""Brings the token up, and up again after it was lost: in a thread, again and again, until it is there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from secretsd.signing.errors import SigningError
from secretsd.signing.pkcs11.lane import Lane, NeedsReset

log = logging.getLogger(__name__)

_FIRST_WAIT_S = 0.05
_LONGEST_WAIT_S = 5.0
# What only an operator ends: a wrong PIN must not be tried again by itself.
_UNTIL_UNLOCKED = frozenset({"pin-locked"})


class TokenLike(Protocol):
    """What is needed of signing.pkcs11.token.Token."""

    @property
    def latched(self) -> SigningError | None: ...
    def reset(self) -> None: ...
    def lane(self, *, patient: bool = True) -> Lane: ...


class Comeback:
    """First it is asked for; when no call of the token is under way any more, it begins; then it is over.

    All methods are for the loop's thread.
    """

    def __init__(
        self,
        token: TokenLike,
        again: Callable[[], None],
        succeeded: Callable[[], None],
        failed: Callable[[SigningError], None],
    ) -> None:
        """`again` is called when it is time for another attempt."""
        self._token = token
        self._again = again
        self._succeeded = succeeded
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._listeners: list[Callable[[SigningError | None], None]] = []
        self._wait_s = _FIRST_WAIT_S
        self._waiting: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._is_stopped = False
        self.trouble: SigningError | None = None  # how the last attempt failed
        self.is_asked = False  # until it is over, nothing new goes to the token
        self.is_over = False  # the token is up
        self.since_s = 0.0  # monotonic, when the attempt under way began; 0 while none is

    def ask(self, then: Callable[[SigningError | None], None] | None) -> None:
        """`then` is called once, with how the next attempt ended."""
        if then is not None:
            self._listeners.append(then)
        self.is_asked, self.is_over = True, False
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def begin(self) -> None:
        """No call of the token is under way. Does nothing while an attempt is."""
        if self.since_s or self._is_stopped:
            return
        self.since_s = time.monotonic()
        self._thread = threading.Thread(target=self._attempt, name="comeback", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No further attempts."""
        self._is_stopped = True
        if self._waiting is not None:
            self._waiting.cancel()

    def join(self, timeout_s: float) -> None:
        """Waits for the attempt under way; blocks."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _attempt(self) -> None:
        outcome: SigningError | None = None
        try:
            # C_Finalize before each attempt: a library that met a dead token never sees it alive.
            self._token.reset()
        except SigningError as error:
            outcome = error
        except NeedsReset:
            outcome = unavailable()
        except Exception as error:  # noqa: BLE001 - tried again, and said
            outcome = a_bug(error)
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever waits
            self._loop.call_soon_threadsafe(self._ended, outcome)

    def _ended(self, trouble: SigningError | None) -> None:
        self.since_s, self.is_asked = 0.0, False
        self.is_over = trouble is None
        before, self.trouble = self.trouble, trouble
        if trouble is None:
            if before is not None:
                log.info("the token is back")
            self._wait_s = _FIRST_WAIT_S
            self._succeeded()
        else:
            if before is None or before.code != trouble.code:
                log.error(
                    "the token cannot be used", extra={"reason": trouble.sentence, "code": trouble.code}
                )
            self._failed(trouble)
            self._wait_for_another(trouble)
        told, self._listeners = self._listeners, []
        for then in told:
            then(trouble)

    def _wait_for_another(self, trouble: SigningError) -> None:
        if trouble.code not in _UNTIL_UNLOCKED and not self._is_stopped:
            self._waiting = self._loop.call_later(self._wait_s, self._again)
            self._wait_s = min(self._wait_s * 2, _LONGEST_WAIT_S)


def unavailable() -> SigningError:
    return SigningError(
        "token-unavailable", "the token does not answer", advice="it is tried again; see secretsctl doctor"
    )


def a_bug(error: Exception) -> SigningError:
    # Its text could hold what a client sent.
    log.error("a request failed by a bug", extra={"type": type(error).__name__})
    return SigningError("bug", "a bug of the signer", advice="please report it with the journal's lines")
