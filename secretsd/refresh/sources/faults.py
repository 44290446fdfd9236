"""What went wrong with one call of a service, in our words. Pure; the service's own words never get here.

The faults that every service can have are here: the same word for the same thing, whichever source it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from secretsd.errors import FailureClass


class Scope(Enum):
    """How far a fault reaches."""

    SECRET = auto()  # this id; in a batch: perhaps one of its ids, so ask for each alone
    CALL = auto()  # this call; the next one may well succeed
    SOURCE = auto()  # every other call would fail in the same way


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that went wrong, in our words. `detail` is made of numbers and error codes only."""

    code: str
    failure_class: FailureClass
    scope: Scope
    retry: bool = False
    detail: str = ""


class CallFailedError(Exception):
    """Carries a `Fault` from the call to the fetch; never leaves this package."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.code)
        self.fault = fault


_TRANSIENT, _IDENTITY = FailureClass.TRANSIENT, FailureClass.IDENTITY
_REFUSAL, _DATA = FailureClass.REFUSAL, FailureClass.DATA

THROTTLED = Fault("throttled", _TRANSIENT, Scope.CALL, retry=True)
SERVER_ERROR = Fault("server-error", _TRANSIENT, Scope.CALL, retry=True)
INCOMPLETE = Fault("incomplete-answer", _TRANSIENT, Scope.CALL, retry=True)
NO_ANSWER = Fault("unreachable", _TRANSIENT, Scope.CALL, retry=True)
NO_CONNECTION = Fault("unreachable", _TRANSIENT, Scope.SOURCE, retry=True)
OUT_OF_TIME = Fault("unreachable", _TRANSIENT, Scope.SOURCE, detail="no time was left to ask for it")
TLS_FAILED = Fault("tls-failed", _TRANSIENT, Scope.SOURCE, retry=True)
METADATA_UNREACHABLE = Fault("metadata-unreachable", _TRANSIENT, Scope.SOURCE)
UNKNOWN_CREDENTIALS = Fault("unknown-credentials", _IDENTITY, Scope.SOURCE)
NO_CREDENTIALS = Fault("no-credentials", _IDENTITY, Scope.SOURCE)
BAD_ENDPOINT = Fault("bad-endpoint", _IDENTITY, Scope.SOURCE)
DENIED = Fault("access-denied", _REFUSAL, Scope.SECRET)
MISSING = Fault("secret-missing", _REFUSAL, Scope.SECRET)
DELETED = Fault("secret-deleted", _REFUSAL, Scope.SECRET)
# Data, not refusals: nothing was revoked, so nothing published may be withdrawn for them.
EMPTY = Fault("secret-empty", _DATA, Scope.SECRET)
TOO_LARGE = Fault("too-large", _DATA, Scope.SECRET)
NOT_UTF8 = Fault("not-utf8", _DATA, Scope.SECRET)
# Transient, so that an answer we do not know withdraws nothing; not repeated, since it is an answer.
UNEXPECTED = Fault("unexpected-error", _TRANSIENT, Scope.SECRET)
