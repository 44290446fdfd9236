"""What a service of AWS that holds secrets says of itself: how it is asked, and how its answers are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from secretsd.model import FetchedSecret
from secretsd.refresh.sources.faults import Fault

if TYPE_CHECKING:
    from secretsd.model import SecretRef
    from secretsd.refresh.sources.aws.session import ServiceName
    from secretsd.refresh.sources.aws.texts import Texts

Found = FetchedSecret | Fault
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """One call, and what its answer means.

    `read` raises CallFailedError where the answer is not whole; the call is then repeated.
    """

    operation: str  # botocore's method of the client
    params: Mapping[str, object]
    read: Callable[[Mapping[str, object]], T]


class Service(Protocol):
    """One service. Pure: it makes requests and reads answers, and sends nothing."""

    @property
    def client_name(self) -> ServiceName:
        """botocore's name of the service."""
        ...

    @property
    def grants_batches_apart(self) -> bool:
        """Whether a batch needs a grant of its own: that it is denied then says nothing of its secrets."""
        ...

    @property
    def texts(self) -> Texts:
        """What the operator reads when something goes wrong."""
        ...

    def tasks(self, refs: Sequence[SecretRef]) -> Sequence[tuple[SecretRef, ...]]:
        """`refs` in batches that one call can answer; a batch of one is asked by `single`."""
        ...

    def single(self, ref: SecretRef) -> Request[Found]:
        """The call for one secret, whose answer settles it."""
        ...

    def batch(self, refs: Sequence[SecretRef]) -> Request[Mapping[SecretRef, Found]]:
        """The call for several; what only a call of its own can settle is not in what `read` returns."""
        ...

    def doubt(self, ref: SecretRef, found: Found) -> Request[Found] | None:
        """What else to ask before `found` counts, where one answer cannot tell what is wrong; else None."""
        ...
