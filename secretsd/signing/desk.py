"""The core behind both sockets: authorize, audit the intent, ask the token, audit the outcome, answer."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from secretsd.config.signer import Signer
from secretsd.signing.authorize import Policy, Right
from secretsd.signing.comeback import a_bug
from secretsd.signing.dispatch import Dispatcher, Job
from secretsd.signing.errors import SigningError, asker_gone
from secretsd.signing.mechanisms import mechanism_name, needs, work
from secretsd.signing.model import Answer, KeyVersion, Peer, Request
from secretsd.signing.peer import is_alive
from secretsd.signing.pkcs11.lane import Lane
from secretsd.signing.pkcs11.token import Token
from secretsd.signing.tally import Tally
from secretsd.signing.trail import Actor, Trail, Use, result_of

_T = TypeVar("_T")
Work = Callable[[Lane], bytes]
Answering = Callable[[Answer | SigningError], None]

_PATIENCE_NS = 10_000_000_000  # for a client that names no deadline


class Caller:
    """Who asks over one connection, and what was found out about it so far."""

    __slots__ = ("_pidfd", "actor", "peer", "policy", "rights")

    def __init__(self, peer: Peer, pidfd: int) -> None:
        """`pidfd` is closed by `close`."""
        self.peer = peer
        self.actor = Actor(peer)
        self.policy: Policy | None = None  # by which `rights` were found; another one drops them
        self.rights: dict[str, Right] = {}
        self._pidfd = pidfd

    def is_alive(self) -> bool:
        return self._pidfd >= 0 and is_alive(self._pidfd)

    def must_be_alive(self) -> None:
        """Raises: SigningError peer-gone: what holds the socket now is not who connected."""
        if not self.is_alive():
            raise asker_gone()

    def close(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


class Desk:
    """What every request passes. All methods are for the loop's thread."""

    def __init__(
        self, config: Signer, policy: Policy, token: Token, dispatcher: Dispatcher, trail: Trail
    ) -> None:
        self.config = config
        self.policy = policy
        self.token = token
        self.dispatcher = dispatcher
        self.trail = trail
        self.tally = Tally()
        self._under_way: Counter[int] = Counter()  # uid -> requests not yet answered
        self._is_stopping = False
        self.idle = asyncio.Event()  # nothing is under way, and nothing will be

    @property
    def under_way(self) -> int:
        """Requests that are not yet answered."""
        return self._under_way.total()

    @property
    def trouble(self) -> SigningError | None:
        """Why no key can be used at the moment; None while the token works."""
        return self.dispatcher.trouble

    def configure(self, config: Signer, policy: Policy) -> None:
        """From the next request on; the rights that connections have cached are found anew."""
        self.config, self.policy = config, policy

    def stop(self) -> None:
        """Refuses what comes from now on; `idle` is set when what is under way has been answered."""
        self._is_stopping = True
        self._note_idle()

    def _note_idle(self) -> None:
        if self._is_stopping and not self._under_way:
            self.idle.set()

    def submit(self, caller: Caller, request: Request, answer: Answering) -> None:
        """Has `request` done for `caller`; `answer` is called on the loop, maybe before this returns."""
        try:
            right, key, job_work = self._admitted(caller, request)
        except SigningError as error:
            name = request.key if request.key in self.config.keys else None
            self.trail.refused(caller.actor, request.operation, name, error, request.key)
            self.tally.refusals[error.code] += 1
            answer(error)
            return
        uid, mechanism = caller.peer.uid, mechanism_name(request, key)
        answer = self.counted(uid, partial(self._tell, request, mechanism, time.monotonic_ns(), answer))
        try:
            members = caller.actor.use(request.operation, request.key, mechanism)
            self.trail.uses(caller.actor, request.key)
            use = self.trail.intent(members, key.number, is_strict=right.audit_is_strict)
        except Exception as error:  # noqa: BLE001 - one request's bug must not leave it under way for ever
            answer(a_bug(error))
            return
        deadline_ns = request.deadline_ns or time.monotonic_ns() + _PATIENCE_NS
        job = Job(uid, request.key, job_work, partial(self._done, caller, use, answer), deadline_ns)
        try:
            self.dispatcher.submit(job)
        except SigningError as error:
            job.done(error)

    def counted(self, uid: int, answer: Callable[[_T], None]) -> Callable[[_T], None]:
        """`answer`, which counts as one request under way until it is called: a stop waits for it."""
        self._under_way[uid] += 1
        return partial(self._answer, uid, answer)

    def must_not_be_stopping(self) -> None:
        """Raises: SigningError."""
        if self._is_stopping:
            raise SigningError("stopping", "the signer is about to stop", advice="ask again in a second")

    def refuse(self, caller: Caller, error: SigningError) -> None:
        """Notes a request that could not even be read."""
        self.trail.refused(caller.actor, None, None, error)
        self.tally.refusals[error.code] += 1

    def keys_of(self, caller: Caller) -> tuple[str, ...]:
        """The names of the keys that the caller may use."""
        return self.policy.visible(caller.peer)

    def versions(self, key: str) -> tuple[KeyVersion, ...]:
        """Of a configured key, oldest first. Raises: SigningError where it cannot be used."""
        versions = self.token.keys.get(key)
        if not versions:
            raise self.dispatcher.trouble or self.token.problems.get(key) or _not_yet()
        return versions

    def version(self, key: str, number: int) -> KeyVersion:
        """One version of a configured key; 0 is the newest. Raises: SigningError."""
        versions = self.versions(key)
        if number == 0:
            return versions[-1]
        for version in versions:
            if version.number == number:
                return version
        raise SigningError(
            "unknown-version", f"{key} has no such version", advice=f"its newest is {versions[-1].number}"
        )

    def _admitted(self, caller: Caller, request: Request) -> tuple[Right, KeyVersion, Work]:
        """Raises: SigningError where the request may not be done, or cannot be."""
        self.must_not_be_stopping()
        right = self._right(caller, request.key)
        key = self.version(request.key, request.version)
        right.check(request, needs(request, key.type))
        uid = caller.peer.uid
        if self._under_way[uid] >= self.config.max_requests_per_user:
            raise SigningError(
                "too-many-requests",
                "this user has too many requests under way",
                advice="wait for answers before you ask for more; see max_requests_per_user",
            )
        right.take(time.monotonic())
        job_work = work(request, key)
        if right.audit_is_strict and (trouble := self.trail.trouble) is not None:
            raise trouble
        return right, key, job_work

    def _right(self, caller: Caller, key: str) -> Right:
        if caller.policy is not self.policy:
            caller.policy, caller.rights = self.policy, {}
        right = caller.rights.get(key)
        if right is None:
            right = caller.rights[key] = self.policy.right(caller.peer, key)
        return right

    def _done(self, caller: Caller, use: Use, answer: Answering, result: bytes | SigningError) -> None:
        """On the loop, when the token has answered."""
        outcome: Answer | SigningError
        outcome = result if isinstance(result, SigningError) else Answer(result, use.version)
        outcome = _for_the_living(caller, outcome)
        self.trail.outcome(use, outcome)
        if use.is_strict and isinstance(outcome, Answer):
            # It may end while the disk is waited for.
            self.trail.commit(lambda trouble: answer(_for_the_living(caller, trouble or outcome)))
        else:
            answer(outcome)

    def _tell(
        self,
        request: Request,
        mechanism: str,
        began_ns: int,
        answer: Answering,
        outcome: Answer | SigningError,
    ) -> None:
        result = result_of(outcome) if isinstance(outcome, SigningError) else "ok"
        took_ns = time.monotonic_ns() - began_ns
        self.tally.use(request.key, request.operation, mechanism, result, took_ns)
        answer(outcome)

    def _answer(self, uid: int, answer: Callable[[_T], None], outcome: _T) -> None:
        self._under_way[uid] -= 1
        if not self._under_way[uid]:
            del self._under_way[uid]
        answer(outcome)
        self._note_idle()


def _for_the_living(caller: Caller, outcome: Answer | SigningError) -> Answer | SigningError:
    """What a process asked for must not go to whoever holds its socket after its end."""
    return outcome if caller.is_alive() else asker_gone()


def _not_yet() -> SigningError:
    return SigningError(
        "token-unavailable", "the token is still being opened", advice="ask again in a second"
    )
