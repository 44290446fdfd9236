"""How an action on a key is done: its intent on the disk, the deed, its outcome on the disk, the answer.

So it is for all of them, whatever `audit` says of the key. All methods are for the loop's thread; an answer
is called once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from secretsd.audit import record
from secretsd.signing.dispatch import Job
from secretsd.signing.errors import SigningError
from secretsd.signing.model import Answer, KeyVersion, Peer
from secretsd.signing.trail import Actor

if TYPE_CHECKING:
    from secretsd.signing.desk import Desk
    from secretsd.signing.pkcs11.lane import Lane
    from secretsd.signing.trail import Use

Telling = Callable[[Mapping[str, Any] | SigningError], None]

_PATIENCE_NS = 60_000_000_000  # an RSA key takes a token its time


def _nothing(_: Lane) -> None:
    """What the token does for an action that is none of its business."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One action: what it is on record, what the token does for it, and how the result is told."""

    peer: Peer
    action: str
    key: str | None  # a configured one
    answer: Telling
    work: Callable[[Lane], Any] = _nothing
    told: Callable[[Any], Mapping[str, Any]] = dict  # what to tell of a result
    version: int = 0


class Deeds:
    """Does them, with what the desk has."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def permitted(self, deed: Deed, allow: Callable[[], None]) -> bool:
        """Whether `allow` raises nothing; else the refusal is on record and answered."""
        try:
            allow()
            self.must_be_possible()
        except SigningError as error:
            self.refuse(deed.peer, deed.action, deed.key, error, deed.answer)
            return False
        return True

    def must_be_possible(self) -> None:
        """Raises: SigningError where the signer stops, or where nothing can be put on record."""
        self._desk.must_not_be_stopping()
        if (trouble := self._desk.trail.trouble) is not None:
            raise trouble

    def refuse(self, peer: Peer, action: str, key: str | None, error: SigningError, answer: Telling) -> None:
        """`key` may be anything that a client sent: one that is not configured is not on record."""
        configured = key if key in self._desk.config.keys else None
        self._desk.trail.refused(Actor(peer), action, configured, error, key or "")
        answer(error)

    def put_on_record(self, deed: Deed, then: Callable[[Deed, Use], None]) -> None:
        """Brings the intent to the disk, then does it."""
        actor = Actor(deed.peer)
        members = record.use(deed.action, deed.key, None, actor.members)
        if deed.key is not None:
            self._desk.trail.uses(actor, deed.key)
        use = self._desk.trail.intent(members, deed.version, is_strict=True)
        deed = replace(deed, answer=self._desk.counted(deed.peer.uid, deed.answer))

        def written(trouble: SigningError | None) -> None:
            if trouble is None:
                then(deed, use)
            else:
                self._desk.trail.outcome(use, trouble)
                deed.answer(trouble)

        self._desk.trail.commit(written)

    def by_the_token(self, deed: Deed, use: Use) -> None:
        deadline_ns = time.monotonic_ns() + _PATIENCE_NS
        done = partial(self.done, deed, use)
        job = Job(deed.peer.uid, deed.key or "", deed.work, done, deadline_ns, once=True)
        try:
            self._desk.dispatcher.submit(job)
        except SigningError as error:
            self.done(deed, use, error)

    def done(self, deed: Deed, use: Use, result: Any) -> None:
        """Brings the outcome to the disk, then answers."""
        if isinstance(result, SigningError):
            self._desk.trail.outcome(use, result)
            self._desk.trail.commit(lambda _: deed.answer(result))
            return
        number = result.number if isinstance(result, KeyVersion) else use.version
        self._desk.trail.outcome(replace(use, version=number), Answer(b"", number))
        told = deed.told(result)
        self._desk.trail.commit(lambda trouble: deed.answer(told if trouble is None else trouble))
