"""What can go wrong with a request: a word, a number and an HTTP status each, and a sentence with the fix.

The numbers are those of the native protocol (docs/native-protocol.md) and never change their meaning.
"""

from __future__ import annotations

from typing import NamedTuple

from secretsd.errors import ExitCode, SecretsdError


class Kind(NamedTuple):
    """A kind of failure."""

    number: int
    http_status: int
    exit_code: ExitCode


KINDS: dict[str, Kind] = {
    # The request itself.
    "malformed-request": Kind(1, 400, ExitCode.USAGE),
    "bad-base64": Kind(2, 400, ExitCode.USAGE),
    "request-too-large": Kind(3, 413, ExitCode.USAGE),
    "unknown-key": Kind(4, 400, ExitCode.USAGE),
    "unknown-version": Kind(5, 400, ExitCode.USAGE),
    "bad-digest-length": Kind(6, 400, ExitCode.USAGE),
    "bad-ciphertext": Kind(7, 400, ExitCode.DATA),
    "unsupported": Kind(8, 400, ExitCode.USAGE),  # a key of this type can never do that
    "bad-parameter": Kind(9, 400, ExitCode.USAGE),
    "unsupported-path": Kind(10, 404, ExitCode.USAGE),
    # Rights.
    "no-right": Kind(20, 403, ExitCode.REFUSED),  # this peer may not use the key at all
    "operation-not-allowed": Kind(21, 403, ExitCode.REFUSED),
    "mechanism-not-allowed": Kind(22, 400, ExitCode.REFUSED),
    "message-too-large": Kind(23, 413, ExitCode.REFUSED),  # than the key's own limit
    "rate-limited": Kind(24, 429, ExitCode.TRY_AGAIN),
    "peer-gone": Kind(25, 403, ExitCode.REFUSED),
    "not-an-admin": Kind(26, 403, ExitCode.REFUSED),
    "version-retired": Kind(27, 400, ExitCode.REFUSED),
    # Load.
    "deadline-expired": Kind(30, 504, ExitCode.TRY_AGAIN),
    "queue-full": Kind(31, 503, ExitCode.TRY_AGAIN),
    "too-many-requests": Kind(32, 429, ExitCode.TRY_AGAIN),
    "too-many-connections": Kind(33, 503, ExitCode.TRY_AGAIN),
    "stopping": Kind(34, 503, ExitCode.TRY_AGAIN),
    # The token.
    "pin-locked": Kind(40, 503, ExitCode.CONFIG),  # the PIN was refused: not tried again by itself
    "pin-missing": Kind(41, 503, ExitCode.CONFIG),
    "module-missing": Kind(42, 503, ExitCode.CONFIG),
    "token-missing": Kind(43, 503, ExitCode.UNAVAILABLE),
    "token-busy": Kind(44, 503, ExitCode.UNAVAILABLE),  # FUNCTION_FAILED again and again: breaker open
    "token-unavailable": Kind(45, 503, ExitCode.UNAVAILABLE),
    "token-refused": Kind(46, 400, ExitCode.DATA),  # Mechanism*, Data*, Key*: the caller's fault
    "key-missing": Kind(47, 503, ExitCode.CONFIG),  # configured, and not on the token
    "key-ambiguous": Kind(48, 500, ExitCode.CONFIG),  # two objects with one label
    "key-unfit": Kind(49, 500, ExitCode.CONFIG),  # on the token, of another type or size
    # Approvals.
    "approval-unknown": Kind(60, 404, ExitCode.USAGE),
    "approval-by-requester": Kind(61, 403, ExitCode.REFUSED),
    "approval-missing": Kind(62, 403, ExitCode.TRY_AGAIN),  # asked for, not yet given
    "approval-expired": Kind(63, 403, ExitCode.REFUSED),
    "approval-mismatch": Kind(64, 403, ExitCode.REFUSED),  # another key, blob or user than approved
    # This host.
    "audit-unavailable": Kind(70, 503, ExitCode.IO),
    "bug": Kind(99, 500, ExitCode.BUG),
}

# The same request may succeed a little later.
RETRYABLE = frozenset(
    {
        "rate-limited",
        "deadline-expired",
        "queue-full",
        "too-many-requests",
        "too-many-connections",
        "stopping",
        "token-missing",
        "token-busy",
        "token-unavailable",
        "approval-missing",
        "audit-unavailable",
    }
)


class SigningError(SecretsdError):
    """A request that is not done. `code` is one of `KINDS`; no text ever holds what the client sent."""

    def __init__(self, code: str, message: str, *, advice: str = "") -> None:
        super().__init__(message, advice=advice)
        self.kind = KINDS[code]
        self.code = code
        self.exit_code = self.kind.exit_code

    @property
    def retryable(self) -> bool:
        return self.code in RETRYABLE

    @property
    def sentence(self) -> str:
        """What failed and what to do, for the client."""
        return f"{self}: {self.advice}" if self.advice else str(self)


def asker_gone() -> SigningError:
    """What is said, if to anybody, on a connection whose process has ended: somebody else holds it now."""
    return SigningError(
        "peer-gone", "the process that connected has ended", advice="connect from the process that asks"
    )


def version_retired(key: str, number: int) -> SigningError:
    return SigningError(
        "version-retired",
        f"version {number} of {key} is retired",
        advice=f"use a newer version of the key, or make one: secretsctl keys generate {key}",
    )


def too_many_connections() -> SigningError:
    """What a connection beyond its user's share is told before it is closed."""
    return SigningError(
        "too-many-connections",
        "this user has too many connections open",
        advice="close some, or send more over each; see max_connections_per_user",
    )
