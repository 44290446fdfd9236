"""What is done to keys rather than with them: authorized, on record before and after, done by the token.

All methods are for the loop's thread. Each calls its `answer` once, with what to tell or why not. The record
of the intent is on the disk before the deed, that of the outcome before the answer, whatever `audit` says of
the key.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from secretsd.signing import descriptions
from secretsd.signing.approvals import Approval, Approvals
from secretsd.signing.authorize import allowed_words
from secretsd.signing.deeds import Deed, Deeds, Telling
from secretsd.signing.errors import SigningError
from secretsd.signing.model import KeyVersion, Operation, Peer

if TYPE_CHECKING:
    from secretsd.signing.desk import Desk
    from secretsd.signing.pkcs11.lane import Lane
    from secretsd.signing.trail import Use


class Administration:
    """All below /v1/secretsd/. Requests for approval end with the policy under which they were made."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._deeds = Deeds(desk)
        self._policy = desk.policy
        self._approvals = Approvals(desk.config.approval_timeout_s)

    # What admins do ---------------------------------------------------------------------------------------

    def generate(self, peer: Peer, name: str, answer: Telling) -> None:
        """A new version, made by the token."""
        deed = Deed(
            peer, "generate", name, answer, lambda lane: lane.generate(name), told=descriptions.made_told
        )
        self._as_admin(deed)

    def import_key(self, peer: Peer, name: str, material: bytes, answer: Telling) -> None:
        """A new version from PKCS#8 DER, or from the bytes of a secret key."""

        def work(lane: Lane) -> KeyVersion:
            return lane.import_key(name, material)

        self._as_admin(Deed(peer, "import", name, answer, work, told=descriptions.made_told))

    def retire(self, peer: Peer, name: str, number: int, answer: Telling) -> None:
        """From now on the token itself refuses to sign, encrypt or wrap with this version."""

        def told(_: object) -> Mapping[str, Any]:
            return {"name": name, "version": number}

        deed = Deed(peer, "retire", name, answer, lambda lane: lane.retire(name, number), told, number)
        self._as_admin(deed)

    def unlock(self, peer: Peer, answer: Telling) -> None:
        """Tries the PIN again, once, and says what came of it."""
        deed = Deed(peer, "unlock", None, answer)
        if self._deeds.permitted(deed, lambda: self._must_be_admin(peer)):
            self._deeds.put_on_record(deed, self._unlock)

    def report(self, peer: Peer, answer: Telling) -> None:
        """How the signer is: for doctor."""
        try:
            self._must_be_admin(peer)
        except SigningError as error:
            self._deeds.refuse(peer, "report", None, error, answer)
            return
        dispatcher, token, trail = self._desk.dispatcher, self._desk.token, self._desk.trail
        answer(
            {
                "trouble": descriptions.error_told(dispatcher.trouble),
                "token": descriptions.token_told(token.capabilities),
                "breaker_open": not token.breaker.is_closed,
                "waiting": dispatcher.waiting,
                "under_way": self._desk.under_way,
                "audit_trouble": descriptions.error_told(trail.trouble),
                "audit_file": str(self._desk.config.state_dir / "audit" / "signer.jsonl"),
                "sessions": self._desk.config.sessions,
                "dispatch": self._desk.config.dispatch,
                "keys": {name: len(versions) for name, versions in sorted(token.keys.items())},
                # With no version that makes anything new.
                "retired": sorted(name for name, versions in token.keys.items() if versions[-1].is_retired),
                "problems": descriptions.problems_told(token.problems),
                "approvals": len(self._current().waiting(time.monotonic())),
            }
        )

    # What peers with a right do ---------------------------------------------------------------------------

    def keys(self, peer: Peer, answer: Telling) -> None:
        """The keys that the peer may use; an admin sees all. Not on record: nothing is used."""
        config, policy, token = self._desk.config, self._desk.policy, self._desk.token
        names = tuple(config.keys) if policy.is_admin(peer) else policy.visible(peer)
        found = []
        for name in names:
            key = config.keys[name]
            problem = self._desk.dispatcher.trouble or token.problems.get(name)
            found.append(
                descriptions.key_told(name, key, allowed_words(key), token.keys.get(name, ()), problem)
            )
        answer({"keys": found})

    def wrap(self, peer: Peer, name: str, number: int, answer: Telling) -> None:
        """The key leaves, wrapped; `number` 0 is the newest version."""
        deed = Deed(peer, "wrap", name, answer)
        if not self._deeds.permitted(deed, lambda: self._use_right(peer, name, Operation.WRAP)):
            return
        try:
            version = self._desk.version(name, number).number
        except SigningError as error:
            self._deeds.refuse(peer, "wrap", name, error, answer)
            return

        def told(blob: bytes) -> Mapping[str, Any]:
            return {"blob": base64.b64encode(blob).decode(), "version": version}

        work = partial(_wrapped, name=name, number=version)
        self._deeds.put_on_record(
            replace(deed, work=work, told=told, version=version), self._deeds.by_the_token
        )

    def unwrap(self, peer: Peer, name: str, blob: bytes, request_id: str, answer: Telling) -> None:
        """Without `request_id` asks for approval; with it, and once approved, the key enters the token."""
        deed = Deed(peer, "unwrap" if request_id else "unwrap-request", name, answer)
        if not self._deeds.permitted(deed, lambda: self._use_right(peer, name, Operation.UNWRAP)):
            return
        now = time.monotonic()
        try:
            if request_id:
                self._current().use(request_id, name, blob, peer.uid, now)
                work = partial(_unwrapped, name=name, blob=blob)
                deed = replace(deed, work=work, told=descriptions.made_told)
                next_step = self._deeds.by_the_token
            else:
                asked = self._current().ask(secrets.token_hex(16), name, blob, peer.uid, now)
                next_step = partial(self._noted, approval=asked)
        except SigningError as error:
            self._deeds.refuse(peer, deed.action, name, error, answer)
            return
        self._deeds.put_on_record(deed, next_step)

    def approvals(self, peer: Peer, answer: Telling) -> None:
        """What waits for the peer's approval, and what the peer itself has asked for."""
        now, policy = time.monotonic(), self._desk.policy
        answer(
            {
                "approvals": [
                    descriptions.approval_told(each, now)
                    for each in self._current().waiting(now)
                    if each.requester_uid == peer.uid or policy.may_approve(peer, each.key)
                ]
            }
        )

    def approve(self, peer: Peer, request_id: str, answer: Telling) -> None:
        """An approver of the key agrees, who is not the user who asked."""
        now, key = time.monotonic(), None
        try:
            self._deeds.must_be_possible()
            found = self._current().find(request_id, now)
            key = found.key
            if not self._desk.policy.may_approve(peer, key):
                raise SigningError(
                    "no-right",
                    f"you may not approve {key}",
                    advice=f"add your user to approvers of [signer.keys.{key}], or to secretsd-admin",
                )
        except SigningError as error:
            self._deeds.refuse(peer, "approve", key, error, answer)
            return
        self._deeds.put_on_record(
            Deed(peer, "approve", key, answer), partial(self._approve, request_id=request_id)
        )

    # How each of them is done -----------------------------------------------------------------------------

    def _as_admin(self, deed: Deed) -> None:
        def allow() -> None:
            self._must_be_admin(deed.peer)
            if deed.key not in self._desk.config.keys:
                raise _unknown_key()

        if self._deeds.permitted(deed, allow):
            self._deeds.put_on_record(deed, self._deeds.by_the_token)

    def _must_be_admin(self, peer: Peer) -> None:
        if not self._desk.policy.is_admin(peer):
            raise SigningError(
                "not-an-admin",
                "only root and the group secretsd-admin may do this",
                advice="run it as root, or add yourself to the group and log in anew",
            )

    def _use_right(self, peer: Peer, name: str, operation: Operation) -> None:
        right = self._desk.policy.right(peer, name)
        right.permits(operation)
        right.take(time.monotonic())

    def _noted(self, deed: Deed, use: Use, approval: Approval) -> None:
        told = {
            "request_id": approval.id,
            "expires_in_s": max(0, round(approval.expires_at_s - time.monotonic())),
        }
        self._deeds.done(deed, use, told)

    def _approve(self, deed: Deed, use: Use, request_id: str) -> None:
        try:
            found = self._current().approve(request_id, deed.peer.uid, time.monotonic())
        except SigningError as error:
            self._deeds.done(deed, use, error)
        else:
            self._deeds.done(deed, use, {"request_id": found.id, "key": found.key})

    def _unlock(self, deed: Deed, use: Use) -> None:
        if self._desk.dispatcher.trouble is None:
            self._deeds.done(deed, use, {"state": "the token works"})
            return

        def tried(trouble: SigningError | None) -> None:
            self._deeds.done(deed, use, {"state": "the token works"} if trouble is None else trouble)

        try:
            self._desk.token.unlock()
        except SigningError as error:
            self._deeds.done(deed, use, error)
            return
        self._desk.dispatcher.bring_up(tried)

    def _current(self) -> Approvals:
        """What waits under the policy of now: after a reload nobody need be an approver who was one."""
        if self._policy is not self._desk.policy:
            self._policy = self._desk.policy
            self._approvals = Approvals(self._desk.config.approval_timeout_s)
        return self._approvals


def _wrapped(lane: Lane, *, name: str, number: int) -> bytes:
    return lane.wrap(name, number)


def _unwrapped(lane: Lane, *, name: str, blob: bytes) -> KeyVersion:
    return lane.unwrap(name, blob)


def _unknown_key() -> SigningError:
    return SigningError(
        "unknown-key", "there is no key of this name", advice="see secretsctl keys list for those there are"
    )
