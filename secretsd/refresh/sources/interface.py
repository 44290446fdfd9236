"""What every source of secrets promises to the worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from secretsd.errors import Failure
    from secretsd.model import EndpointSeen, FetchedSecret, Identity, SecretRef, SourceView


@dataclass(frozen=True, slots=True)
class FetchFailure:
    """Why one secret could not be had; holds no value."""

    ref: SecretRef
    failure: Failure


class Source(Protocol):
    """Fetches secrets; an implementation lives in one worker and dies with it."""

    def fetch(self, refs: Sequence[SecretRef], *, deadline: float) -> Iterator[FetchedSecret | FetchFailure]:
        """Yield exactly one result for each distinct ref, in the order in which answers arrive.

        `deadline` is a reading of the source's monotonic clock, in seconds; nothing is begun that could
        not end before it, but an answer that drips in slowly can outlast it: the worker's killer is the
        only hard limit. No exception of a service's SDK leaves, whatever the service answers.
        """
        ...


@runtime_checkable
class RemoteSource(Source, Protocol):
    """A source that is asked over a network, with credentials; what it tells of itself holds no secret."""

    @property
    def identity(self) -> Identity | None:
        """The credentials that were used, for the conductor to keep; None for static ones."""
        ...

    @property
    def calls(self) -> Mapping[str, int]:
        """How many requests were sent so far, by the service's name of the operation."""
        ...

    @property
    def endpoints(self) -> tuple[EndpointSeen, ...]:
        """How each endpoint did that was asked so far, in that order; each once."""
        ...

    @property
    def view(self) -> SourceView:
        """What the last fetch saw: for `secretsctl doctor`."""
        ...
