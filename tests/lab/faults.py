"""What can go wrong between secretsd and a source, as values that a test hands to a `FaultProxy`.

Messages and codes are those that AWS sends (Secrets Manager API reference, "Common errors"; IAM user guide,
"Troubleshoot access denied error messages") and OpenBao does (its HTTP API's "HTTP status codes"; by trial).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tests.lab.tls import Certificate


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer: HTTP status, error code (AWS has one), message; `skew_s` shifts the Date header."""

    status: int
    code: str
    message: str
    skew_s: float = 0.0


THROTTLED = Refusal(400, "ThrottlingException", "Rate exceeded")
SERVER_ERROR = Refusal(500, "InternalServiceError", "An error occurred on the server side.")
UNAVAILABLE = Refusal(503, "ServiceUnavailable", "Service is unable to handle request.")
EXPIRED_TOKEN = Refusal(400, "ExpiredTokenException", "The security token included in the request is expired")
UNKNOWN_CLIENT = Refusal(
    400, "UnrecognizedClientException", "The security token included in the request is invalid."
)
# The service's clock is a quarter of an hour ahead of ours.
CLOCK_SKEW = Refusal(
    400,
    "InvalidSignatureException",
    "Signature expired: 20261122T130000Z is now earlier than 20261122T131000Z (20261122T131500Z - 5 min.)",
    skew_s=900.0,
)
# The identity may do nothing at all: every call is refused, the batch as a whole, too.
DENY_ALL = Refusal(
    400,
    "AccessDeniedException",
    "User: arn:aws:sts::123456789012:assumed-role/lab-role/i-0fake is not authorized to perform this action "
    "because no identity-based policy allows it",
)
VAULT_THROTTLED = Refusal(429, "", "request path: rate limit quota exceeded")
VAULT_SERVER_ERROR = Refusal(500, "", "internal error")
VAULT_SEALED = Refusal(503, "", "Vault is sealed")
# Nothing tells a token that has ended from a policy that does not allow: the server says this to both.
VAULT_DENIED = Refusal(403, "", "permission denied")


@dataclass(frozen=True, slots=True)
class ClockSkew:
    """Refused as a request whose date is `ahead_s` seconds ahead of the service's clock; negative: behind."""

    ahead_s: float = 903.0  # 15 min 3 s


@dataclass(frozen=True, slots=True)
class ClockChecked:
    """No fault of the service's: a request whose date is more than 5 minutes off is refused, as AWS does."""


class Away(Enum):
    """Nobody answers at the service's address."""

    REFUSED = "refused"  # the host does, and refuses the connection
    BLACK_HOLE = "black-hole"  # not even the connection is answered


@dataclass(frozen=True, slots=True)
class RefuseIds:
    """Some secrets (names or ARNs) are refused with `code`: in Errors[] of a batch, and one by one."""

    ids: frozenset[str]
    code: str
    message: str
    status: int = 400

    def hits(self, secret_id: str) -> bool:
        """True for the id itself, and for the ARN of a secret that is listed by name."""
        return any(secret_id == each or f":secret:{each}-" in secret_id for each in self.ids)


def deny(*ids: str) -> RefuseIds:
    """Access to these secrets is denied."""
    return RefuseIds(
        frozenset(ids),
        "AccessDeniedException",
        "User: arn:aws:sts::123456789012:assumed-role/lab-role/i-0fake is not authorized to perform: "
        "secretsmanager:GetSecretValue because no identity-based policy allows it",
    )


def decryption_failure(*ids: str) -> RefuseIds:
    """These secrets' key cannot be used."""
    return RefuseIds(
        frozenset(ids),
        "DecryptionFailure",
        "Secrets Manager can't decrypt the protected secret text using the provided KMS key.",
    )


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset after `after_bytes` of the body."""

    after_bytes: int = 20


@dataclass(frozen=True, slots=True)
class Cut:
    """The body ends after `after_bytes`; Content-Length still names the whole length."""

    after_bytes: int


@dataclass(frozen=True, slots=True)
class CutWhole:
    """The body ends after `after_bytes` and Content-Length says that this is all: it looks whole."""

    after_bytes: int


@dataclass(frozen=True, slots=True)
class Drip:
    """The body comes one byte each `interval_s`."""

    interval_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Hang:
    """The request is read and never answered (until the fault is cleared)."""


@dataclass(frozen=True, slots=True)
class Huge:
    """A valid JSON object of `size_bytes`."""

    size_bytes: int = 300_000_000


class WrongJson(Enum):
    """Status 200, and not what it should be. All but the first four are real answers, bent."""

    NOT_JSON = "not-json"
    HTML = "html"  # a captive portal's
    LIST = "list"
    EMPTY_OBJECT = "empty-object"
    VALUE_IS_NUMBER = "value-is-number"
    VALUE_IS_OBJECT = "value-is-object"
    NO_VALUE = "no-value"
    NO_ARN = "no-arn"
    NO_VERSION = "no-version"
    NO_STAGES = "no-stages"
    OTHER_STAGE = "other-stage"
    VALUES_IS_OBJECT = "values-is-object"  # SecretValues of a batch
    ERRORS_IS_TEXT = "errors-is-text"  # Errors of a batch


# A `Certificate` as a fault needs a proxy that speaks TLS; it is what the proxy shows from now on.
Fault = (
    Refusal
    | RefuseIds
    | ClockSkew
    | ClockChecked
    | Away
    | Certificate
    | Reset
    | Cut
    | CutWhole
    | Drip
    | Hang
    | Huge
    | WrongJson
)
