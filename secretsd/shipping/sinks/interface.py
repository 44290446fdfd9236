"""What a sink is: where records go that leave this host's audit files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from secretsd.errors import Failure

if TYPE_CHECKING:
    from secretsd.audit.chain import Head
    from secretsd.shipping.pieces import Piece


@dataclass(frozen=True, slots=True)
class Sent:
    """What a sink has taken: the piece's first `records` records. `receipt` goes with the next piece."""

    records: int
    receipt: str = ""
    refused: int = 0  # of these, records that the sink will never take


class SinkError(Exception):
    """The sink took nothing now, or that it did could not be noted."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


class Sink(Protocol):
    """One sink, used by one thread."""

    @property
    def name(self) -> str:
        """Of its cursors, in status and logs: "s3"."""
        ...

    @property
    def limit_bytes(self) -> int:
        """The largest piece, but for a single record that is longer."""
        ...

    @property
    def look_every_s(self) -> float:
        """How often to see whether there is something new."""
        ...

    @property
    def batch_age_s(self) -> float:
        """How long a record may wait for others before it is sent; 0 where none does."""
        ...

    @property
    def keeps_pieces(self) -> bool:
        """Whether pieces stay what they are there: after a crash the very same one has to come again."""
        ...

    def is_due(self, piece: Piece, waited_s: float, *, is_finished: bool) -> bool:
        """Whether to send `piece`, which has waited so long; `is_finished`: its file will not grow."""
        ...

    def send(self, daemon: str, piece: Piece, receipt: str) -> Sent:
        """Sends the piece, or its beginning, at least one record of it. May block for about 20 s.

        `receipt` is what the piece before has left, "" for the first one.

        Raises: SinkError.
        """
        ...

    def anchor(self, daemon: str, head: Head, time_ns: int) -> None:
        """Puts on record what a chain's last record is. May block as `send` does.

        Raises: SinkError.
        """
        ...
