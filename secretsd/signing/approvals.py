"""Keys that wait for a second person before they enter the token. Pure.

What waits is in memory alone: after a restart or a reload it has to be asked for again.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from hashlib import sha256

from secretsd.signing.errors import SigningError

MAX_PENDING_PER_USER = 8


@dataclass(frozen=True, slots=True)
class Approval:
    """One unwrap of one blob under one key, asked for by one user. Times are monotonic seconds."""

    id: str
    key: str
    blob_sha256: bytes
    requester_uid: int
    expires_at_s: float
    approver_uid: int | None = None

    def is_expired(self, now: float) -> bool:
        return now >= self.expires_at_s


class Approvals:
    """What was asked for and not yet done. Bounded: a user has at most `MAX_PENDING_PER_USER`.

    One that expired is remembered once as long again, so that whoever asks hears why it is of no use.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._asked: dict[str, Approval] = {}

    def ask(self, request_id: str, key: str, blob: bytes, uid: int, now: float) -> Approval:
        """Begins one. `request_id` must be new and not to be guessed.

        Raises: SigningError too-many-requests.
        """
        self._forget(now)
        mine = [each for each in self._asked.values() if each.requester_uid == uid]
        if sum(not each.is_expired(now) for each in mine) >= MAX_PENDING_PER_USER:
            raise SigningError(
                "too-many-requests",
                f"{MAX_PENDING_PER_USER} of your unwraps wait for approval already",
                advice="have them approved, or wait until they expire (approval_timeout)",
            )
        asked = Approval(request_id, key, sha256(blob).digest(), uid, now + self._timeout_s)
        self._asked[request_id] = asked
        return asked

    def find(self, request_id: str, now: float) -> Approval:
        """Raises: SigningError approval-unknown, approval-expired."""
        self._forget(now)
        found = self._asked.get(request_id)
        if found is None:
            raise SigningError(
                "approval-unknown",
                "nothing with this request id waits for approval",
                advice="ask for the unwrap again: an approval counts once, and not after a restart or reload",
            )
        if found.is_expired(now):
            raise SigningError(
                "approval-expired",
                "this request was not approved and used in time",
                advice="ask for the unwrap again; see approval_timeout",
            )
        return found

    def approve(self, request_id: str, uid: int, now: float) -> Approval:
        """`uid`, who may approve for the key, agrees. Agreeing twice changes nothing.

        Raises: SigningError approval-unknown, approval-expired, approval-by-requester.
        """
        found = self.find(request_id, now)
        if found.requester_uid == uid:
            raise SigningError(
                "approval-by-requester",
                "whoever asked cannot approve, root included",
                advice="have another user run secretsctl approve",
            )
        if found.approver_uid is None:
            found = self._asked[request_id] = replace(found, approver_uid=uid)
        return found

    def use(self, request_id: str, key: str, blob: bytes, uid: int, now: float) -> Approval:
        """Takes the approval away, before the unwrap: one that fails then needs another.

        What does not match takes nothing away.

        Raises: SigningError approval-unknown, approval-expired, approval-mismatch, approval-missing.
        """
        found = self.find(request_id, now)
        is_blob = hmac.compare_digest(found.blob_sha256, sha256(blob).digest())
        if not is_blob or found.key != key or found.requester_uid != uid:
            raise SigningError(
                "approval-mismatch",
                "the request id belongs to another key, blob or user",
                advice="unwrap exactly what was asked for, as the user who asked",
            )
        if found.approver_uid is None:
            raise SigningError(
                "approval-missing",
                "nobody has approved yet",
                advice="have another user run secretsctl approve",
            )
        del self._asked[request_id]
        return found

    def waiting(self, now: float) -> tuple[Approval, ...]:
        """Those that can still be approved or used, oldest first."""
        self._forget(now)
        return tuple(each for each in self._asked.values() if not each.is_expired(now))

    def _forget(self, now: float) -> None:
        for each in [each for each in self._asked.values() if now >= each.expires_at_s + self._timeout_s]:
            del self._asked[each.id]
