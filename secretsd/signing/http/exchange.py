"""One request as it came over HTTP, and how it is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from secretsd.signing.desk import Caller
from secretsd.signing.http import fields
from secretsd.signing.http.envelope import Response

Respond = Callable[[Response], None]


class Exchange(NamedTuple):
    """`path` has no query and no trailing slash; `method` is LIST also for GET with ?list=true."""

    caller: Caller
    method: str
    path: str
    content: bytes
    deadline_ns: int  # CLOCK_MONOTONIC; 0 for none
    respond: Respond  # on the loop, once

    def body(self) -> fields.Body:
        """Raises: SigningError."""
        return fields.parse(self.content)
