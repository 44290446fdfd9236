"""Bytes become requests. httptools (llhttp) parses; what it lets through and we do not is refused here."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import httptools

from secretsd.signing.errors import SigningError
from secretsd.signing.http.fields import malformed

MAX_REQUEST_BYTES = 65536  # of a whole request: its line, its headers and its body
# llhttp does not know OpenBao's method LIST. It knows LOCK, which is as long and which means nothing here.
_LIST, _STAND_IN = b"LIST ", b"LOCK "
_PER_HEADER_BYTES = 4  # the colon, a space and the line's end
_NOT_IMPLEMENTED, _EXPECTATION_FAILED = 501, 417


class Incoming(NamedTuple):
    """A whole request. `timeout` is what X-Secretsd-Timeout-Ms says."""

    method: str
    target: str
    content: bytes
    timeout: bytes
    keeps_alive: bool


class Refusal(NamedTuple):
    """Instead of a request that cannot be read. Nothing after it is."""

    error: SigningError
    status: int | None = None  # where it is not the error's own


class Reader:
    """What one connection sends. `ready` has the requests that are whole, in their order.

    A request of more than MAX_REQUEST_BYTES is refused as soon as it says so, or is. Its memory is bounded by
    that and one piece. LIST is known where a request starts a piece, not behind another one in it.
    """

    def __init__(self) -> None:
        self.ready: deque[Incoming | Refusal] = deque()
        self.begun = 0  # requests so far
        self.is_over = False  # after a refusal
        self.owes_continue = False  # the client waits for 100 before it sends the body
        self._parser: Any = httptools.HttpRequestParser(self)
        self._is_parsing = False
        self._start = b""  # too little to tell LIST from something else
        self._is_list = False
        self._problem: Refusal | None = None
        self._forget()

    def _forget(self) -> None:
        self._target = self._content = self._timeout = self._expects = b""
        self._length = self._size = self._whole_pieces = 0

    @property
    def is_inside(self) -> bool:
        """Whether a request has begun and is not whole."""
        return not self.is_over and (self._is_parsing or bool(self._start))

    def feed(self, piece: bytes) -> None:
        """Adds what `piece` makes whole to `ready`."""
        if self.is_over:
            return
        if not self._is_parsing:
            piece, self._start = self._start + piece, b""
            if piece.startswith(_LIST):
                piece, self._is_list = _STAND_IN + piece[len(_LIST) :], True
            elif _LIST.startswith(piece):
                self._start = piece
                return
        self._parse(piece)
        if self._problem is not None:
            self.refuse(self._problem.error, self._problem.status)

    def refuse(self, error: SigningError, status: int | None = None) -> None:
        """Ends the reading with this."""
        self.is_over = True
        self.owes_continue = False
        self.ready.append(Refusal(error, status))

    def close(self) -> None:
        """Undoes the circle of the parser and its callbacks."""
        self.is_over = True
        self._parser = None

    def _parse(self, piece: bytes) -> None:
        begun = self.begun if self._is_parsing else self.begun + 1
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserInvalidMethodError:
            self._problem = self._problem or Refusal(
                malformed("the HTTP method is unknown"), _NOT_IMPLEMENTED
            )
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._problem = self._problem or Refusal(malformed("this is not HTTP/1.1", "see docs/transit.md"))
        if self._is_parsing and self.begun == begun:
            self._whole_pieces += len(piece)
        if self._is_parsing and max(self._size, self._whole_pieces) > MAX_REQUEST_BYTES:
            self._problem = self._problem or _too_large()

    # Called by the parser -----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.begun += 1
        self._is_parsing = True

    def on_url(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= MAX_REQUEST_BYTES:
            self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._size += len(name) + len(value) + _PER_HEADER_BYTES
        name = name.lower()
        if name == b"content-length":
            self._length = int(value)
        elif name == b"x-secretsd-timeout-ms":
            self._timeout = value
        elif name == b"expect":
            self._expects = value.lower()

    def on_headers_complete(self) -> None:
        if self._problem is not None:
            return
        if self._size + self._length > MAX_REQUEST_BYTES:
            self._problem = _too_large()
        elif self._parser.should_upgrade():
            self._problem = Refusal(malformed("this connection is not upgraded", "speak HTTP/1.1"))
        elif self._parser.get_http_version() not in ("1.1", "1.0"):
            self._problem = Refusal(malformed("this version of HTTP is not spoken", "speak HTTP/1.1"))
        elif self._expects and self._expects != b"100-continue":
            self._problem = Refusal(malformed("only 100-continue can be expected"), _EXPECTATION_FAILED)
        else:
            self.owes_continue = bool(self._expects)

    def on_body(self, part: bytes) -> None:
        self._size += len(part)
        self.owes_continue = False
        if self._size <= MAX_REQUEST_BYTES:
            self._content = self._content + part if self._content else part

    def on_message_complete(self) -> None:
        self._is_parsing = self.owes_continue = False
        if self._size > MAX_REQUEST_BYTES:
            self._problem = self._problem or _too_large()
        if self._problem is None:
            method = "LIST" if self._is_list else self._parser.get_method().decode()
            keeps_alive = self._parser.should_keep_alive() and self._parser.get_http_version() == "1.1"
            target = self._target.decode("latin-1")
            self.ready.append(Incoming(method, target, self._content, self._timeout, keeps_alive))
        self._is_list = False
        self._forget()


def _too_large() -> Refusal:
    return Refusal(
        SigningError(
            "request-too-large",
            f"a request has at most {MAX_REQUEST_BYTES} bytes",
            advice="send a digest with prehashed, or fewer items",
        )
    )
