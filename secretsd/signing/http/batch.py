"""Has the items of one body done, one or many, and answers when the last is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from secretsd.signing.desk import Caller, Desk
from secretsd.signing.errors import SigningError
from secretsd.signing.http import envelope, transit
from secretsd.signing.http.envelope import Response
from secretsd.signing.http.transit import Asked
from secretsd.signing.model import Answer, Operation

_AT_ONCE = 8  # items of one batch under way: the rest waits here, not in the queue that all share

# What lies in one item. Everything else would befall each item of the batch, and is said once for all.
_OF_AN_ITEM = frozenset(
    {
        *("malformed-request", "bad-base64", "bad-parameter", "bad-digest-length", "bad-ciphertext"),
        *("unknown-version", "message-too-large", "version-retired"),
    }
)
_FAILED: dict[Operation, dict[str, Any]] = {
    Operation.SIGN: {"key_version": 0},
    Operation.VERIFY: {"valid": False},
    Operation.DECRYPT: {"plaintext": ""},
}
_STATUS_TELLS = (Operation.ENCRYPT, Operation.DECRYPT)  # of the others Transit answers 200 for any batch


def run(desk: Desk, caller: Caller, asked: Asked, respond: Callable[[Response], None]) -> None:
    """`respond` is called on the loop, maybe before this returns. Raises: SigningError."""
    if asked.references is not None:
        _Batch(desk, caller, asked, respond).go_on()
        return
    (request,) = asked.items
    if isinstance(request, SigningError):
        raise request
    desk.submit(caller, request, partial(_answer_one, asked, respond))


def _answer_one(asked: Asked, respond: Callable[[Response], None], answer: Answer | SigningError) -> None:
    if isinstance(answer, Answer):
        respond(envelope.data(transit.members(asked, answer), warnings=_warnings(asked)))
    else:
        respond(envelope.error(answer))


def _warnings(asked: Asked) -> list[str]:
    return [f"{asked.ignored} members of the body are unknown here and were ignored"] if asked.ignored else []


class _Batch:
    """A few items at a time, so that a batch is no way past the others in the queue."""

    def __init__(self, desk: Desk, caller: Caller, asked: Asked, respond: Callable[[Response], None]) -> None:
        self._desk = desk
        self._caller = caller
        self._asked = asked
        self._respond = respond
        self._results: list[Answer | SigningError | None] = [None] * len(asked.items)
        self._next = 0
        self._under_way = 0

    def go_on(self) -> None:
        while self._next < len(self._results) and self._under_way < _AT_ONCE:
            self._start(self._next)
        if self._next == len(self._results) and not self._under_way:
            self._respond(self._response())

    def _start(self, index: int) -> None:
        self._next += 1
        self._under_way += 1
        item = self._asked.items[index]
        if isinstance(item, SigningError):
            self._desk.refuse(self._caller, item)
            self._end(index, item)
        else:
            self._desk.submit(self._caller, item, partial(self._end, index))

    def _end(self, index: int, result: Answer | SigningError) -> None:
        self._results[index] = result
        # Not from here: an answer may come while the item is being submitted, and others want the loop.
        asyncio.get_running_loop().call_soon(self._ended)

    def _ended(self) -> None:
        self._under_way -= 1
        self.go_on()

    def _response(self) -> Response:
        results = [result for result in self._results if result is not None]
        errors = [result for result in results if isinstance(result, SigningError)]
        codes = {error.code for error in errors}
        if len(errors) == len(results) and len(codes) == 1 and not codes & _OF_AN_ITEM:
            return envelope.error(errors[0])
        status = 200
        if errors and self._asked.operation in _STATUS_TELLS:
            status = self._asked.partial_status if len(errors) < len(results) else 400
        references = self._asked.references or ()
        listed = [
            {**self._members(result), "reference": reference}
            for result, reference in zip(results, references, strict=True)
        ]
        return envelope.data({"batch_results": listed}, status=status, warnings=_warnings(self._asked))

    def _members(self, result: Answer | SigningError) -> dict[str, Any]:
        if isinstance(result, Answer):
            return transit.members(self._asked, result)
        return {**_FAILED.get(self._asked.operation, {}), "error": result.sentence}
