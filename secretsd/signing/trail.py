"""What the audit log is told of each request: its intent, its outcome, or that it was refused."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from secretsd.audit import record
from secretsd.audit.log import AuditLog
from secretsd.audit.withheld import Withheld
from secretsd.config.unusual import Unusual
from secretsd.errors import SecretsdError
from secretsd.signing.errors import SigningError
from secretsd.signing.model import Answer, Operation, Peer
from secretsd.unusual.detector import Detector
from secretsd.unusual.findings import actor_of
from secretsd.unusual.uses import Meter

logger = logging.getLogger(__name__)

# What nobody could do wrong on purpose is a failure of ours; all else that is not done is a refusal.
_FAILURES = frozenset(
    {
        *("deadline-expired", "queue-full", "stopping", "token-missing", "token-busy", "token-unavailable"),
        *("pin-locked", "pin-missing", "module-missing", "key-missing", "key-ambiguous", "key-unfit"),
        *("audit-unavailable", "bug", "peer-gone"),
    }
)
# Refusals by which somebody who has no right finds out what there is.
_OF_STRANGERS = frozenset({"unknown-key", "no-right", "not-an-admin"})


class Actor:
    """A peer as it stands in the records, and the beginnings of its records that were made so far."""

    __slots__ = ("_uses", "members", "meters", "name", "uid")
    _MOST_USES = 64

    def __init__(self, peer: Peer) -> None:
        self.uid = peer.uid
        self.name = actor_of(peer)
        self.members = record.actor(peer)
        self.meters: dict[str, Meter] = {}  # by key
        self._uses: dict[tuple[Operation, str, str], str] = {}

    def use(self, operation: Operation, key: str, mechanism: str) -> str:
        """The members that all records of such a use share."""
        name = (operation, key, mechanism)
        members = self._uses.get(name)
        if members is None:
            if len(self._uses) >= self._MOST_USES:
                self._uses.clear()
            members = self._uses[name] = record.use(operation, key, mechanism, self.members)
        return members


@dataclass(frozen=True, slots=True)
class Use:
    """One request under way."""

    members: str
    number: int
    version: int
    is_strict: bool


class Trail:
    """The signer's audit trail. All methods are for the loop's thread.

    What is done is always on record, one by one. Refusals are, too, up to a rate for each user: whoever has
    no right at all could fill the disk otherwise. Beyond it they are counted, and the count is on record.
    """

    def __init__(self, log: AuditLog, stirred: Callable[[], None], detector: Detector | None = None) -> None:
        """`stirred` is called when there is something new, or something that was only counted."""
        self.detector = detector or Detector(Unusual())
        self._log = log
        self._stirred = stirred
        self._number = 0  # joins intent and outcome
        self._withheld = Withheld()
        self._told_trouble = False

    @property
    def trouble(self) -> SigningError | None:
        """Why strict requests must be refused now; None while the log can be written."""
        error = self._log.trouble
        return None if error is None else audit_unavailable(error)

    def intent(self, members: str, version: int, *, is_strict: bool) -> Use:
        """Notes what is about to be done."""
        self._number += 1
        self._log.append(record.intent(members, self._number, version))
        return Use(members, self._number, version, is_strict)

    def outcome(self, use: Use, outcome: Answer | SigningError) -> None:
        """Notes how it went."""
        if isinstance(outcome, SigningError):
            text = record.outcome(use.members, use.number, use.version, result_of(outcome), outcome.code)
        else:
            text = record.outcome(use.members, use.number, use.version)
        self._log.append(text)
        self._stirred()

    def uses(self, actor: Actor, key: str) -> None:
        """Counts a use that is allowed, for whoever looks for unusual ones."""
        meter = actor.meters.get(key)
        if meter is None:
            meter = actor.meters[key] = self.detector.meter(("key", key), actor.name)
        self.detector.note(meter)

    def refused(
        self, actor: Actor, operation: str | None, key: str | None, error: SigningError, asked: str = ""
    ) -> None:
        """Notes a request that was not even begun. `key` is a configured key's name, or None.

        `asked` is the name that was asked for, which is not kept.
        """
        if result_of(error) == "refused":
            self.detector.refused(actor.name, asked if error.code in _OF_STRANGERS else None)
        self._stirred()
        if not self._withheld.is_to_be_recorded(actor.uid, time.monotonic()):
            return
        self._number += 1
        members = record.use(operation or "unreadable", key, None, actor.members)
        self._log.append(record.outcome(members, self._number, 0, result_of(error), error.code))

    def look(self) -> None:
        """Tells of the refusals that were only counted, and in the journal whether the log can be written."""
        for members in self._withheld.told():
            self._log.append(members)
        trouble, former = self.trouble, self._told_trouble
        self._told_trouble = trouble is not None
        if trouble is not None and not former:
            logger.error("audit log cannot be written", extra={"reason": trouble.sentence})
        elif trouble is None and former:
            logger.info("audit log is written again")

    def event(self, action: str, error: SecretsdError | None = None, **details: object) -> None:
        """Notes what the daemon itself did."""
        result: record.Result = "ok" if error is None else "failed"
        reason = "" if error is None else error.code
        self._log.append(record.event(action, result=result, reason=reason, details=details))
        self._stirred()

    def commit(self, done: Callable[[SigningError | None], None]) -> None:
        """Calls `done` when all of the above is on the disk, or cannot be brought there."""
        self._log.commit(lambda error: done(None if error is None else audit_unavailable(error)))


def audit_unavailable(error: OSError) -> SigningError:
    return SigningError(
        "audit-unavailable",
        f"the audit log cannot be written ({os.strerror(error.errno or 0)}), and without it this is not done",
        advice="look at owner, mode and free room of audit in state_dir (/var/lib/secretsd-signer)",
    )


def result_of(error: SigningError) -> record.Result:
    """Whether who asked was refused, or we have failed."""
    return "failed" if error.code in _FAILURES else "refused"
