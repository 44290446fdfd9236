"""What conductor and listener say to each other: a line of JSON each, that is checked. Pure.

The listener has read what the network sent, so nothing that it says is believed: a hint makes the conductor
ask the source, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from secretsd.errors import Failure

MOST_MESSAGES = 10  # of one ReceiveMessage

# "The secret name must be ASCII, and can contain alphanumerics and /_+=.@-", up to 512 characters.
NAME = r"^[A-Za-z0-9/_+=.@-]{1,512}$"
ARN = r"^arn:[a-z0-9-]{1,32}:secretsmanager:[a-z0-9-]{1,32}:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]{1,519}$"
LABEL = r"^[A-Za-z0-9/_+=.@-]{1,256}$"
VERSION = r"^[A-Za-z0-9-]{32,64}$"

# They are counted for good: names of its own making would grow without end.
_Operation = Annotated[str, StringConstraints(pattern=r"^(ReceiveMessage|DeleteMessageBatch)$")]
_Calls = Mapping[_Operation, Annotated[int, Field(ge=0, le=1000)]]
_END_OF_TIME_S = 253_402_300_800  # of years with four digits
_Count = Annotated[int, Field(ge=0, le=MOST_MESSAGES)]


@dataclass(frozen=True, slots=True)
class Hint:
    """Something has changed about a secret. At least one of `arn` and `name` is there.

    `label` None: any stage may have moved. `version_id` None: it is not told which version has the label now.
    `at`: when it did, in seconds since the epoch, if that is told; it makes no difference between two hints.
    """

    arn: Annotated[str, StringConstraints(pattern=ARN)] | None = None
    name: Annotated[str, StringConstraints(pattern=NAME)] | None = None
    label: Annotated[str, StringConstraints(pattern=LABEL)] | None = None
    version_id: Annotated[str, StringConstraints(pattern=VERSION)] | None = None
    at: Annotated[float, Field(ge=0, le=_END_OF_TIME_S)] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Assignment:
    """A listener's whole life: which queue, for which source."""

    source: str
    queue_url: str
    region: str | None  # of the source, as configured
    endpoint_url: str | None  # of SQS, as configured


@dataclass(frozen=True, slots=True)
class Received:
    """The queue has answered, perhaps with nothing."""

    hints: Annotated[tuple[Hint, ...], Field(max_length=MOST_MESSAGES)]
    ignored: _Count  # well-formed, and about nothing that moves a version
    malformed: _Count
    calls: _Calls  # requests sent since the last message, by operation
    kind: Literal["received"] = "received"


@dataclass(frozen=True, slots=True)
class NotReceived:
    """The queue has not answered, or refused."""

    failure: Failure
    calls: _Calls
    kind: Literal["not-received"] = "not-received"


@dataclass(frozen=True, slots=True)
class Deleted:
    """What was received has been deleted, or not: it then comes again."""

    failure: Failure | None
    calls: _Calls
    kind: Literal["deleted"] = "deleted"


@dataclass(frozen=True, slots=True)
class Crashed:
    """The listener met a bug that ends it; the type of the exception, whose text may quote a message."""

    exception: str
    kind: Literal["crashed"] = "crashed"


ListenerMessage = Received | NotReceived | Deleted | Crashed

_message: TypeAdapter[ListenerMessage] = TypeAdapter(Annotated[ListenerMessage, Field(discriminator="kind")])
_assignment: TypeAdapter[Assignment] = TypeAdapter(Assignment)


def encode_assignment(assignment: Assignment) -> bytes:
    return _assignment.dump_json(assignment) + b"\n"


def decode_assignment(line: bytes) -> Assignment:
    """Raises: ValueError."""
    return _assignment.validate_json(line)


def encode_message(message: ListenerMessage) -> bytes:
    return _message.dump_json(message) + b"\n"


def decode_message(line: bytes) -> ListenerMessage:
    """Raises: ValueError without the line's content."""
    try:
        return _message.validate_json(line)
    except ValidationError:
        raise ValueError("the listener sent a message of unknown shape") from None
