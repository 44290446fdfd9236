"""One client that speaks HTTP/1.1: its requests are done one after another, and answered in their order.

Not side by side: a POST that was sent ahead may depend on the one before it (RFC 9112, 9.3.2).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import cast
from urllib.parse import unquote

from secretsd.signing.desk import Caller
from secretsd.signing.errors import SigningError
from secretsd.signing.http import envelope
from secretsd.signing.http.envelope import Response
from secretsd.signing.http.exchange import Exchange
from secretsd.signing.http.fields import malformed
from secretsd.signing.http.reading import Incoming, Reader, Refusal
from secretsd.signing.http.routes import Routes

log = logging.getLogger(__name__)

_REQUEST_S = 2.0  # from the first byte of a request to its last
_STUCK_S = 10.0  # for a client that does not read its answers
_PIECE_BYTES = 16384  # parsed at a time: more would read ahead of what can be answered
_MOST_READY = 8  # requests sent ahead of their answers: then nothing more is read
_AT_ONCE = 16  # steps before the loop looks at its other connections
_MOST_TIMEOUT_DIGITS = 9
_REQUEST_TIMEOUT = 408
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class HttpConnection(asyncio.Protocol):
    """`closed` is called once, when nothing of the connection is left. `caller` is closed by whoever made it.

    An idle connection has no timer. A client that sends a request too slowly, or that does not read its
    answers, is cut off.
    """

    def __init__(self, routes: Routes, caller: Caller, closed: Callable[[], None]) -> None:
        self._routes = routes
        self._caller = caller
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = Reader()
        self._held = b""  # received, not yet parsed
        self._current: Incoming | None = None  # what is being done
        self._is_going_on = False
        self._is_paused = False
        self._is_choked = False  # the client does not read
        self._is_last = False  # nothing is read any more: the client has said all, or the signer stops
        self._slow: asyncio.TimerHandle | None = None
        self._slow_for = 0  # the number of the request that `_slow` watches
        self._stuck: asyncio.TimerHandle | None = None

    def finish(self) -> None:
        """What is under way is answered; then the connection ends."""
        self._is_last = True
        if self._current is None:
            self.close()

    def close(self) -> None:
        """Sends what is written, and nothing more."""
        if self._transport is not None:
            self._transport.close()

    # The transport's side -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has another base

    def connection_lost(self, _: Exception | None) -> None:
        for timer in (self._slow, self._stuck):
            if timer is not None:
                timer.cancel()
        self._transport = None
        self._reader.close()
        self._held = b""
        self._closed()

    def data_received(self, data: bytes) -> None:
        self._held = self._held + data if self._held else data
        self._go_on()

    def eof_received(self) -> bool:
        """Whether the connection stays open: a client that only stopped sending still wants its answers."""
        self._is_last = True
        return not self._is_done()

    def _is_done(self) -> bool:
        """Whether all that was received has been answered, as far as it can be read."""
        is_read = not self._held or self._reader.is_over
        return self._current is None and not self._reader.ready and is_read

    def pause_writing(self) -> None:
        self._is_choked = True
        self._stuck = self._loop.call_later(_STUCK_S, self._cut_off)

    def resume_writing(self) -> None:
        self._is_choked = False
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        self._go_on()

    def _cut_off(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # Reading and serving ------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Does all that can be done now, but for a long run of it, which makes room for other connections."""
        if self._is_going_on:
            return
        self._is_going_on = True
        steps = 0
        while steps < _AT_ONCE and self._step():
            steps += 1
        self._is_going_on = False
        if self._transport is None or self._transport.is_closing():
            return
        if steps == _AT_ONCE:
            self._loop.call_soon(self._go_on)
        self._tend(self._transport)

    def _step(self) -> bool:
        """Whether there was something to do."""
        if self._transport is None or self._transport.is_closing():
            return False
        ready = self._reader.ready
        if ready and self._current is None and not self._is_choked:
            self._begin(ready.popleft())
            return True
        if self._held and len(ready) < _MOST_READY and not self._reader.is_over:
            piece, self._held = self._held[:_PIECE_BYTES], self._held[_PIECE_BYTES:]
            self._reader.feed(piece)
            return True
        return False

    def _tend(self, transport: asyncio.Transport) -> None:
        """What a connection needs that waits for its client, or for the token."""
        reader = self._reader
        if reader.owes_continue and self._current is None and not reader.ready:
            reader.owes_continue = False
            transport.write(_CONTINUE)
        is_full = bool(self._held) or self._is_choked or reader.is_over
        if is_full != self._is_paused:
            self._is_paused = is_full
            (transport.pause_reading if is_full else transport.resume_reading)()
        if reader.is_inside and not is_full:
            self._watch()
        elif self._slow is not None:
            self._slow.cancel()
            self._slow = None
        if self._is_last and self._is_done():
            transport.close()

    def _watch(self) -> None:
        if self._slow is not None:
            if self._slow_for == self._reader.begun:
                return
            self._slow.cancel()
        self._slow_for = self._reader.begun
        self._slow = self._loop.call_later(_REQUEST_S, self._too_slow)

    def _too_slow(self) -> None:
        self._slow = None
        problem = malformed(f"a request must be sent within {_REQUEST_S:.0f} s", "send it in one go")
        self._reader.refuse(problem, _REQUEST_TIMEOUT)
        self._go_on()

    def _begin(self, what: Incoming | Refusal) -> None:
        if isinstance(what, Refusal):
            self._routes.desk.refuse(self._caller, what.error)
            self._is_last = True
            self._write(envelope.layout(envelope.error(what.error, status=what.status), closes=True))
            return
        self._current = what
        try:
            self._routes.handle(self._exchange(what))
        except SigningError as error:
            self._routes.desk.refuse(self._caller, error)
            self._answer(what, envelope.error(error))
        except Exception as error:  # noqa: BLE001 - a bug ends one request, not the process
            log.error("http request failed", extra={"error": type(error).__name__, "at": _place(error)})
            problem = SigningError("bug", "internal error", advice="see the journal")
            self._answer(what, envelope.error(problem))

    def _exchange(self, what: Incoming) -> Exchange:
        """Raises: SigningError."""
        path, _, query = what.target.partition("?")
        if "%" in path:
            path = unquote(path)
        is_list = what.method == "GET" and "list=true" in query.split("&")
        method = "LIST" if is_list else what.method
        respond = partial(self._answer, what)
        deadline_ns = _deadline_ns(what.timeout)
        return Exchange(self._caller, method, path.rstrip("/"), what.content, deadline_ns, respond)

    def _answer(self, what: Incoming, response: Response) -> None:
        if self._current is not what:
            return  # answered already, by a bug: it must not become the answer to the next request
        self._current = None
        self._is_last = self._is_last or not what.keeps_alive
        closes = not what.keeps_alive or (self._is_last and self._is_done())
        self._write(envelope.layout(response, closes=closes, without_body=what.method == "HEAD"))
        if closes:
            self.close()
        else:
            self._go_on()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _place(error: Exception) -> str:
    """File and line of a bug: its text may quote what was sent."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{os.path.basename(frame.filename)}:{frame.lineno}"


def _deadline_ns(timeout_ms: bytes) -> int:
    """0 where the client names none. Raises: SigningError."""
    if not timeout_ms:
        return 0
    if not timeout_ms.isdigit() or len(timeout_ms) > _MOST_TIMEOUT_DIGITS:
        raise SigningError(
            "bad-parameter", "X-Secretsd-Timeout-Ms is no number", advice="send whole milliseconds"
        )
    return time.monotonic_ns() + int(timeout_ms) * 1_000_000
