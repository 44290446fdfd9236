"""The frozen values that pass from room to room.

Only `FetchedSecret`, `CloudIdentity` and `VaultToken` hold secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from secretsd.errors import Failure

CURRENT_STAGE = "AWSCURRENT"


@dataclass(frozen=True, slots=True, order=True)
class SecretRef:
    """One secret at one stage or version: what a source is asked for.

    `source` is the name of the source's table in the configuration, `id` the secret's name or ARN.
    """

    source: str
    id: str
    stage: str = CURRENT_STAGE
    version: str | None = None

    @property
    def is_current(self) -> bool:
        return self.version is None and self.stage == CURRENT_STAGE

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.id} (version {self.version})"
        return self.id if self.is_current else f"{self.id} ({self.stage})"


@dataclass(frozen=True, slots=True)
class FetchedSecret:
    """A value as it came from a source, already checked to be a whole answer; lives in a worker only."""

    ref: SecretRef
    version_id: str
    created_at: float | None  # seconds since the epoch; when this version was made
    payload: bytes = field(repr=False)
    is_binary: bool = False

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a fetched secret does not leave its worker")


@dataclass(frozen=True, slots=True)
class CloudIdentity:
    """Credentials of a role, kept by the conductor so that a fork does not ask the metadata service."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False)
    expires_at: float  # seconds since the epoch
    method: str  # botocore's word for where they came from, e.g. "iam-role"
    obtained_at: float | None = None  # seconds since the epoch; when the metadata service handed them out


@dataclass(frozen=True, slots=True)
class VaultToken:
    """A token that a login gave, kept by the conductor so that a fork does not log in each time."""

    token: str = field(repr=False)
    expires_at: float  # seconds since the epoch
    method: str  # how it was had: "approle", "aws-iam"
    obtained_at: float  # seconds since the epoch; of the login or of the last renewal
    is_renewable: bool = False


Identity = CloudIdentity | VaultToken


@dataclass(frozen=True, slots=True)
class Stop:
    """One endpoint that a source can ask.

    `endpoint` names it for people and for its circuit breaker, and is the same wherever two sources ask the
    same one; `region` and `url` are as configured, None for what the environment says.
    """

    endpoint: str
    region: str | None = None
    url: str | None = None
    is_primary: bool = True  # what it says of a secret is the truth; a replica can be behind


@dataclass(frozen=True, slots=True)
class Route:
    """Which endpoints one fetch asks, in this order; the later ones if the earlier cannot answer."""

    stops: tuple[Stop, ...] = ()
    probe: Stop | None = None  # to be asked for one secret, too: is it back?
    # Some stop has failed several times in a row: begin with one request, once, and let it decide.
    cautious: bool = False


@dataclass(frozen=True, slots=True)
class EndpointSeen:
    """How one endpoint did in one fetch.

    "answers" is any answer that it meant, a refusal too; "fails" is an error of its own, silence, or nobody
    there; `code` is then the failure's.
    """

    endpoint: str
    did: Literal["answers", "fails"]
    code: str = ""
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Floor:
    """The version of a secret below which a replica is not believed."""

    version_id: str
    created_at: float | None  # seconds since the epoch
    superseded: frozenset[str] = frozenset()  # ids of versions that were shown before it


@dataclass(frozen=True, slots=True)
class SourceView:
    """What a source saw of itself and of its service while it fetched; None for what it did not come to."""

    endpoint: str | None = None  # the URL that it asked
    method: str | None = None  # where its credentials came from, in the SDK's word ("iam-role", "env")
    expires_at: float | None = None  # of the credentials, seconds since the epoch; None: never, or not known
    skew_s: float | None = None  # by how much this host's clock is ahead of the service's; negative: behind


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """Which version of a secret a generation was made from."""

    ref: SecretRef
    version_id: str
    created_at: float | None  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class SealedHeader:
    """What a sealed copy says of itself in clear; to be believed only once a worker has opened it."""

    host: str  # see refresh.sealed.key.host_id
    bundle: str
    generation: int  # the one that was first shown with this content
    versions: tuple[SecretVersion, ...]
    sealed_at: float  # seconds since the epoch
    confirmed_at: float  # seconds since the epoch; when the source last said that this is what it has
    key_id: str
    stamp: int | None = None  # the value of the host's counter, where it has one


@dataclass(frozen=True, slots=True)
class Unsealed:
    """How old what was published from a sealed copy is; all in seconds since the epoch."""

    sealed_at: float
    confirmed_at: float
    until: float  # from then on a boot refuses this copy


@dataclass(frozen=True, slots=True)
class SecretRead:
    """What came of asking a source for one secret; never the value."""

    ref: SecretRef
    version_id: str = ""  # empty where none came, or where nobody looked
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file as it stood right after publishing; any difference later is drift."""

    path: str  # relative to the bundle's directory
    inode: int
    size: int
    ctime_ns: int
    uid: int
    gid: int
    mode: int


@dataclass(frozen=True, slots=True)
class PublishRecord:
    """What is known of one published generation; holds no value and no guessable digest."""

    bundle: str
    generation: int
    published_at: float  # seconds since the epoch
    published_monotonic: float  # seconds of CLOCK_MONOTONIC, the clock of systemd's *Monotonic properties
    digest: str  # keyed with a key that dies with the boot
    versions: tuple[SecretVersion, ...]
    variables: tuple[str, ...]
    defaults: tuple[str, ...]  # names whose value is the configuration's default
    files: tuple[PublishedFile, ...]
    variable_digests: Mapping[str, str] = field(default_factory=dict)  # keyed as `digest`, by name
    copy_of: int | None = None  # the generation that was first shown with this content, of a restored one
    unsealed: Unsealed | None = None  # of what came from a sealed copy

    @property
    def made_as(self) -> int:
        """The generation that was first shown with this content."""
        return self.generation if self.copy_of is None else self.copy_of


@dataclass(frozen=True, slots=True)
class Candidate:
    """A bundle that was fetched, validated and rendered, and not yet published."""

    bundle: str
    digest: str
    versions: tuple[SecretVersion, ...]
    variables: tuple[str, ...]
    defaults: tuple[str, ...]
    ignored: Mapping[str, tuple[str, ...]]  # secret -> keys of its object that no rule takes
    variable_digests: Mapping[str, str] = field(default_factory=dict)  # keyed as `digest`, by name
    copy_of: int | None = None  # as PublishRecord's
    unsealed: Unsealed | None = None  # as PublishRecord's


@dataclass(frozen=True, slots=True)
class Showing:
    """A generation that was shown once, whether it is still kept or not."""

    generation: int
    published_at: float  # seconds since the epoch
    reason: str
    versions: tuple[SecretVersion, ...]
    copy_of: int | None = None  # the generation whose content it has, where it was not made from the source
    by: str = ""  # who asked for it; empty where secretsd did it by itself
    # After the swap; None where an earlier secretsd wrote it. A unit that started later has read it.
    published_monotonic: float | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """An operator's word that a bundle stays on one content, whatever its source says.

    A "hold" keeps what was published; a "rollback" went back to an earlier content and ends by itself when
    the source has something newer than `refused`. Both survive restarts; after a reboot, which loses the
    content, `pinned` says what to fetch.
    """

    kind: Literal["hold", "rollback"]
    since: float  # seconds since the epoch
    by: str
    reason: str
    generation: int  # the one whose content is to be shown
    digest: str  # of that content
    pinned: tuple[SecretVersion, ...]  # what that content was made from
    from_generation: int | None = None  # the one that was rolled back from
    refused: tuple[SecretVersion, ...] = ()  # what that one was made from


@dataclass(frozen=True, slots=True)
class Rejected:
    """A bundle that could not be made; at least one failure."""

    bundle: str
    failures: tuple[Failure, ...]


ValueType = Literal["string", "integer", "decimal", "boolean"]
LeftOutReason = Literal[
    "absent", "ambiguous", "dangerous", "duplicate", "nested", "not-a-name", "not-utf8", "unmapped"
]


@dataclass(frozen=True, slots=True)
class SurveyedVariable:
    """What kind of value a variable has now: enough to draft its rule, and nothing of the value itself."""

    name: str
    type: ValueType
    min_length: int = 0  # characters of a long string, rounded down; 0: say nothing
    required: bool = True  # False: it is null now


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A key of a secret that a draft has no rule for, and why, in one word."""

    secret: str
    key: str  # fit for a line of text
    reason: LeftOutReason


@dataclass(frozen=True, slots=True)
class Survey:
    """The shape of what a bundle's secrets hold now."""

    bundle: str
    variables: tuple[SurveyedVariable, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True)
class UnitReport:
    """How one unit took a generation: what the notify helper says after it was asked to look or to act.

    `outcome` is one of these words of the helper:
    "acted": the job succeeded, or the signal was delivered;
    "current": the unit's main process started after the generation was published;
    "inactive": the unit is not running and was left alone;
    "starting": the unit has not started its main process yet: it will read the new files;
    "due": the unit runs on older files, and has only been looked at;
    "willing", "unwilling": what the `before` of the unit says;
    "failed": it could not be done, `message` says why and `advice` what to do;
    or one of those that the conductor adds:
    "waiting": the unit is due and may not be touched yet;
    "superseded": a newer generation came before the unit was touched;
    "confirming": the helper has acted, and the unit must still be active when `confirm` is over;
    "unacknowledged": the unit has been told, and its bot has not yet said that it has loaded the generation.
    """

    outcome: str
    message: str = ""
    advice: str = ""
    invocation: str = ""  # systemd's InvocationID after the action
    main_pid: int = 0
