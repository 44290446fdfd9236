"""What the sources of this host have in common: one secret at a time, and what goes wrong in words.

The classes of failure are those of the cloud's answers: what is not there is a refusal, what may not be read
is about who we are, and what a disk or a missing directory does will pass.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from secretsd.errors import Failure, FailureClass
from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh.sources.interface import FetchFailure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_VALUE_BYTES = 65_536  # as Secrets Manager: what works here works there


class UnreadableError(Exception):
    """Carries a failure up to `fetch`; never leaves this package."""

    def __init__(self, code: str, failure_class: FailureClass, message: str, advice: str) -> None:
        super().__init__(code)
        self.code = code
        self.failure_class = failure_class
        self.message = message
        self.advice = advice


class LocalSource(ABC):
    """A source that reads each secret by itself, from this host."""

    def fetch(self, refs: Sequence[SecretRef], *, deadline: float) -> Iterator[FetchedSecret | FetchFailure]:
        """Yield one result for each distinct ref; see `Source.fetch`."""
        for ref in dict.fromkeys(refs):
            try:
                if time.monotonic() >= deadline:
                    raise _out_of_time(ref)
                yield self._checked(ref)
            except UnreadableError as error:
                failure = Failure(error.code, error.failure_class, error.message, error.advice, ref.id)
                yield FetchFailure(ref, failure)

    @abstractmethod
    def read(self, ref: SecretRef) -> FetchedSecret:
        """The secret, of any length up to one byte more than the limit. Raises: UnreadableError."""

    def _checked(self, ref: SecretRef) -> FetchedSecret:
        found = self.read(ref)
        if len(found.payload) > MAX_VALUE_BYTES:
            raise UnreadableError(
                "too-large",
                FailureClass.DATA,
                f"the value of {ref} is larger than {MAX_VALUE_BYTES} bytes",
                "store a value within the limit of Secrets Manager, or divide it into several secrets",
            )
        if not found.payload:
            raise UnreadableError(
                "secret-empty", FailureClass.DATA, f"{ref} is there and has no value", "put a value into it"
            )
        return found


def _out_of_time(ref: SecretRef) -> UnreadableError:
    return UnreadableError(
        "unreachable",
        FailureClass.TRANSIENT,
        f"no time was left to read {ref}",
        "nothing to do if it passes: what is published stays, and the next refresh tries again",
    )
