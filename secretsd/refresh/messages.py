"""What conductor and worker say to each other, typed, without any secret's value.

The job goes to the worker as a pickle, since it comes from its own parent. Everything that comes back is a
line of JSON that is checked: a worker has read what the network sent, and is not trusted with a pickle.
What a source knows us by, a role's credentials or the token of a login, is the one secret that travels: the
conductor keeps it by design.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

from pydantic import TypeAdapter, ValidationError

from secretsd.config.models import Bundle
from secretsd.config.sources import SourceConfig
from secretsd.errors import Failure
from secretsd.model import (
    Candidate,
    EndpointSeen,
    Floor,
    Identity,
    PublishRecord,
    Rejected,
    Route,
    SealedHeader,
    SecretRead,
    SecretRef,
    SourceView,
    Survey,
)
from secretsd.refresh.plan import RestoreBundle, UnsealBundle
from secretsd.refresh.source_book.endpoints import stops


@dataclass(frozen=True, slots=True)
class SourceJob:
    """One source for one worker. All but its table is for sources that are asked over a network."""

    config: SourceConfig
    route: Route = field(default_factory=Route)  # without stops: as the table says
    floors: Mapping[SecretRef, Floor] = field(default_factory=dict)
    identity: Identity | None = None
    renew_identity: bool = False  # ask for new credentials first; the old ones serve if that fails
    # Granted earlier, not asked for here: tells a denial from a broken identity.
    witness: SecretRef | None = None

    def __post_init__(self) -> None:
        if not self.route.stops:
            object.__setattr__(self, "route", Route(stops(self.config)))


@dataclass(frozen=True, slots=True)
class SealPlace:
    """Where sealed copies lie, and where their key is: "credential:NAME" or "file:PATH".

    `counter` is "tpm:HANDLE", None for a host without one.
    """

    state_dir: str
    key: str
    counter: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A worker's whole life."""

    runtime_dir: str
    budget_s: float  # after this long no new call is begun
    sources: dict[str, SourceJob]
    bundles: dict[str, Bundle]
    restores: dict[str, RestoreBundle]  # bundles to be shown again from the daemon's own copies
    foreground: bool  # files stay with the user who runs the daemon
    seal: SealPlace | None = None  # None where this host has no key for sealed copies
    # Bundles to be published from their sealed copies; none of them is fetched.
    unseals: Mapping[str, UnsealBundle] = field(default_factory=dict)
    survey: bool = False  # only say what kinds of values there are: nothing is validated or published


@dataclass(frozen=True, slots=True)
class Examination:
    """A worker's whole life, too: to ask a source for secrets and to let go of whatever comes."""

    name: str
    source: SourceJob
    refs: tuple[SecretRef, ...]
    budget_s: float


@dataclass(frozen=True, slots=True)
class IdentityResolved:
    """Credentials for the conductor to keep."""

    source: str
    identity: Identity
    kind: Literal["identity"] = "identity"


@dataclass(frozen=True, slots=True)
class SourceAsked:
    """What asking a source took, at the end of its fetch."""

    source: str
    calls: Mapping[str, int]  # requests sent, by the service's name of the operation
    endpoints: tuple[EndpointSeen, ...] = ()
    skew_s: float | None = None  # by how much this host's clock is ahead of the service's
    kind: Literal["source-asked"] = "source-asked"


@dataclass(frozen=True, slots=True)
class SourceRead:
    """What a source gave, at the end of its fetch: for the audit trail."""

    source: str
    reads: tuple[SecretRead, ...]
    kind: Literal["source-read"] = "source-read"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A bundle is ready to be published, if the plan says so."""

    candidate: Candidate
    kind: Literal["prepared"] = "prepared"


@dataclass(frozen=True, slots=True)
class Failed:
    """A bundle could not be made."""

    rejected: Rejected
    kind: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True)
class Published:
    """A bundle was published."""

    record: PublishRecord
    kind: Literal["published"] = "published"


@dataclass(frozen=True, slots=True)
class PublishFailed:
    """A bundle could not be published; the old generation stands."""

    bundle: str
    failure: Failure
    kind: Literal["publish-failed"] = "publish-failed"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed copy of a bundle is on the disk."""

    header: SealedHeader
    kind: Literal["sealed"] = "sealed"

    @property
    def bundle(self) -> str:
        return self.header.bundle


@dataclass(frozen=True, slots=True)
class NotSealed:
    """A bundle's sealed copy could not be made; what is published has nothing to do with it."""

    bundle: str
    failure: Failure
    kind: Literal["not-sealed"] = "not-sealed"


@dataclass(frozen=True, slots=True)
class Surveyed:
    """Names and kinds of what a bundle's secrets hold."""

    survey: Survey
    kind: Literal["surveyed"] = "surveyed"


@dataclass(frozen=True, slots=True)
class SecretSeen:
    """Whether a secret can be had, of an examination."""

    ref: SecretRef
    failure: Failure | None
    kind: Literal["secret-seen"] = "secret-seen"


@dataclass(frozen=True, slots=True)
class SourceSeen:
    """What the examined source saw of itself; the last message of an examination."""

    view: SourceView
    kind: Literal["source-seen"] = "source-seen"


@dataclass(frozen=True, slots=True)
class Crashed:
    """The worker met a bug that ends it; the type of the exception, whose text may quote a secret."""

    exception: str
    kind: Literal["crashed"] = "crashed"


@dataclass(frozen=True, slots=True)
class SealOrder:
    """To make the sealed copy of a generation: of what was fetched, or, renewed, of what the copy holds."""

    generation: int
    is_renewal: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The conductor's answer to `Prepared`: publish as this generation, or leave it (None); then seal."""

    bundle: str
    generation: int | None
    seal: SealOrder | None = None


WorkerMessage = (
    IdentityResolved
    | SourceAsked
    | SourceRead
    | Prepared
    | Failed
    | Published
    | PublishFailed
    | Sealed
    | NotSealed
    | Surveyed
    | SecretSeen
    | SourceSeen
    | Crashed
)

_LENGTH_BYTES = 8

_message: TypeAdapter[WorkerMessage] = TypeAdapter(WorkerMessage)
_verdict: TypeAdapter[Verdict] = TypeAdapter(Verdict)
_record: TypeAdapter[PublishRecord] = TypeAdapter(PublishRecord)


def encode_job(job: Job | Examination) -> bytes:
    document = pickle.dumps(job)
    return len(document).to_bytes(_LENGTH_BYTES) + document


def read_job(reader: BinaryIO) -> Job | Examination:
    """The job that the parent sent; blocks until it is whole. Raises: EOFError."""
    document = reader.read(int.from_bytes(reader.read(_LENGTH_BYTES)))
    job = pickle.loads(document)  # noqa: S301 - from our own parent, over a socket that nobody else has
    if not isinstance(job, Job | Examination):
        raise EOFError("the conductor sent no job")
    return job


def encode_message(message: WorkerMessage) -> bytes:
    return _message.dump_json(message) + b"\n"


def decode_message(line: bytes) -> WorkerMessage:
    """Raises: ValueError without the line's content."""
    try:
        return _message.validate_json(line)
    except ValidationError:
        raise ValueError("the worker sent a message of unknown shape") from None


def encode_verdict(verdict: Verdict) -> bytes:
    return _verdict.dump_json(verdict) + b"\n"


def decode_verdict(line: bytes) -> Verdict:
    return _verdict.validate_json(line)


def encode_record(record: PublishRecord) -> bytes:
    return _record.dump_json(record)


def decode_record(text: bytes) -> PublishRecord:
    """Raises: ValueError where `text` is no record."""
    return _record.validate_json(text)
