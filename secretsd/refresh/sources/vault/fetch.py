"""One fetch under way: which secrets are asked for, and what each answer says of each."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from hvac.api.secrets_engines import KvV1, KvV2
from hvac.utils import format_url

from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh.sources.faults import (
    DENIED,
    MISSING,
    UNKNOWN_CREDENTIALS,
    CallFailedError,
    Fault,
    Scope,
)
from secretsd.refresh.sources.interface import FetchFailure
from secretsd.refresh.sources.vault.answers import read_value, tells_other_kv_version
from secretsd.refresh.sources.vault.errors import OTHER_KV_VERSION, fault_of_answer
from secretsd.refresh.sources.vault.texts import all_denied, failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from secretsd.config.sources import VaultSource
    from secretsd.refresh.sources.vault.calls import Calls
    from secretsd.refresh.sources.vault.errors import Answer
    from secretsd.refresh.sources.vault.login import Login

Outcome = FetchedSecret | FetchFailure

# A server looks at policies first: who is told one of these was allowed to ask.
_TOLD_TO_THE_ALLOWED = frozenset(
    ("secret-missing", "secret-deleted", "secret-empty", "inexact-number", "not-utf8", "too-large")
)


class Fetch:
    """A queue of secrets, and what was learnt of our token on the way.

    A 403 can be about the path or about the token. So the first one stops the asking until the server has
    said whether it knows the token, and none counts as a refusal that came after it last said so.
    """

    def __init__(
        self,
        config: VaultSource,
        calls: Calls,
        login: Login,
        refs: Sequence[SecretRef],
        *,
        witness: SecretRef | None,
        cautious: bool,
    ) -> None:
        self._config = config
        self._calls = calls
        self._login = login
        self._queue = deque(refs)
        self._witness = witness
        self._cautious = cautious  # nothing is known to answer: one request decides for all
        self._granted = False
        self._is_token_known = False
        self._has_settled = True  # whether the token that is used now is good for anything
        self._unjudged: list[SecretRef] = []  # denied since the server last said that it knows the token
        self._denied: list[SecretRef] = []  # denied to a token that it knows
        self._is_mount_known = False

    def outcomes(self) -> Iterator[Outcome]:
        try:
            while self._queue:
                yield from self._ask_all()
                if self._unjudged:
                    self._judge()
            is_granted = self._granted or (bool(self._denied) and self._is_witness_granted())
        except CallFailedError as failed:
            for ref in (*self._denied, *self._unjudged, *self._queue):
                yield FetchFailure(ref, failure(failed.fault, ref, self._config))
            return
        told = failure if is_granted else all_denied
        for ref in self._denied:
            yield FetchFailure(ref, told(DENIED, ref, self._config))

    def _ask_all(self) -> Iterator[Outcome]:
        """Results until the queue is empty, or until the first denial makes us doubt the token.

        Raises:
            CallFailedError: with a fault that every further call would meet.
        """
        while self._queue:
            found = self._found(self._queue[0])
            ref = self._queue.popleft()
            if isinstance(found, Fault) and found.code == DENIED.code:
                self._unjudged.append(ref)
                if not self._is_token_known:
                    return
                continue
            if isinstance(found, FetchedSecret):
                self._granted = self._has_settled = True
                yield found
            else:
                self._granted = self._granted or found.code in _TOLD_TO_THE_ALLOWED
                yield FetchFailure(ref, failure(found, ref, self._config))

    def _found(self, ref: SecretRef) -> FetchedSecret | Fault:
        # A call that hangs uses up its share of the time, or a second, not the time of the calls behind it.
        share_s = self._calls.time_left_s() / len(self._queue)
        try:
            found = self._read(ref, share_s)
            if isinstance(found, Fault) and found.code == MISSING.code:
                self._doubt_mount()
        except CallFailedError as failed:
            if failed.fault.scope is Scope.SOURCE or (self._cautious and failed.fault.retry):
                raise
            found = failed.fault
        self._cautious = False
        return found

    def _read(self, ref: SecretRef, share_s: float) -> FetchedSecret | Fault:
        wire, mount = self._calls.wire, self._config.mount
        if self._config.kv_version == 1:
            send = partial(KvV1(wire).read_secret, ref.id, mount_point=mount)
        else:
            send = partial(
                KvV2(wire).read_secret_version,
                ref.id,
                version=ref.version,
                mount_point=mount,
                raise_on_deleted_version=False,
            )

        def read(answer: Answer) -> FetchedSecret | Fault:
            if answer.status == 200:
                return read_value(ref, answer, kv_version=self._config.kv_version)
            raise CallFailedError(fault_of_answer(answer))

        try:
            return self._calls.call("kv-read", send, read, share_s=share_s, once=self._cautious)
        except CallFailedError as failed:
            if failed.fault.scope is not Scope.SECRET:
                raise
            return failed.fault

    def _doubt_mount(self) -> None:
        """Before something is called missing: is the engine of the version that we ask it in?

        A secret of the other version is not found either, and no mistake of ours may withdraw a bundle.

        Raises: CallFailedError "wrong-kv-version", or why the server does not say.
        """
        if self._is_mount_known:
            return
        path = format_url("/v1/sys/internal/ui/mounts/{mount}", mount=self._config.mount)
        is_other = self._calls.call(
            "read-mount", partial(self._calls.wire.get, path), self._is_of_other_version
        )
        if is_other:
            raise CallFailedError(OTHER_KV_VERSION)
        self._is_mount_known = True

    def _is_of_other_version(self, answer: Answer) -> bool:
        if answer.status == 200:
            return tells_other_kv_version(answer, kv_version=self._config.kv_version)
        fault = fault_of_answer(answer)
        if fault.code == DENIED.code:
            return False  # it keeps that to itself
        raise CallFailedError(fault)

    def _judge(self) -> None:
        """What the denials are about, now that the server says whether it knows the token.

        A token that has ended is followed by another one as long as each settles something.
        Raises: CallFailedError.
        """
        self._is_token_known = self._login.is_accepted()
        if self._is_token_known:
            self._denied += self._unjudged
            self._has_settled = True
        elif self._has_settled and self._login.begin_anew():
            self._has_settled = False
            self._queue.extendleft(reversed(self._unjudged))
        else:
            raise CallFailedError(UNKNOWN_CREDENTIALS)
        self._unjudged = []

    def _is_witness_granted(self) -> bool:
        """Whether we may still read what we were granted earlier; the value itself is dropped."""
        if self._witness is None:
            return False
        try:
            found = self._read(self._witness, self._calls.time_left_s())
        except CallFailedError:
            return False
        return isinstance(found, FetchedSecret) or found.code in _TOLD_TO_THE_ALLOWED
