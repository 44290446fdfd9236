"""Who we are on a server: a token that stands somewhere, or one that a login gives and renewals keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from hvac.api.auth_methods import AppRole, Token
from hvac.utils import format_url

from secretsd.config.sources import VaultAppRoleLogin, VaultAwsLogin, VaultTokenLogin
from secretsd.errors import FailureClass
from secretsd.model import VaultToken
from secretsd.refresh.sources.faults import DENIED, UNEXPECTED, CallFailedError
from secretsd.refresh.sources.vault.answers import Granted, read_token
from secretsd.refresh.sources.vault.errors import fault_of_answer, fault_of_login
from secretsd.refresh.sources.vault.place import read_place

if TYPE_CHECKING:
    from secretsd.config.sources import VaultSource
    from secretsd.refresh.sources.clocks import Clocks
    from secretsd.refresh.sources.vault.calls import Calls
    from secretsd.refresh.sources.vault.errors import Answer

# For a token that does not end: the conductor wants a date for everything that it keeps.
_FOR_EVER_S = 365 * 86_400.0
# A server that hangs over it must leave time to read by the token that is still good.
_LENGTHENING_S = 1.5


class Login:
    """The token of one fetch. `kept` is the one that an earlier worker was given.

    Renewing is tried with `renew`; what is still good serves if that fails. With `cautious` the first request
    of the fetch decides for all, so it is one that the fetch cannot do without.
    """

    def __init__(
        self,
        config: VaultSource,
        calls: Calls,
        clocks: Clocks,
        *,
        kept: VaultToken | None,
        renew: bool,
        cautious: bool,
    ) -> None:
        self._login = config.login
        self._calls = calls
        self._clocks = clocks
        self._renew = renew and not cautious
        self._cautious = cautious
        self._asked_before: int | None = None  # requests before the token that this fetch's own login gave
        self.identity = None if isinstance(config.login, VaultTokenLogin) else kept

    def begin(self) -> None:
        """Gets a token and gives it to the wire. Raises: CallFailedError, and then nothing can be asked."""
        if isinstance(self._login, VaultTokenLogin):
            self._carry(read_place(self._login.token))
            return
        now = self._clocks.wall()
        kept = self.identity
        if kept is None or kept.expires_at <= now:
            self._log_in()
            return
        self._carry(kept.token)
        if self._renew:
            try:
                self._lengthen(kept, now)
            except CallFailedError:
                self._carry(kept.token)

    def is_accepted(self) -> bool:
        """Whether the server knows the token that was sent; asks it, unless it had just given it.

        Only the first request after a login needs no asking: a role with token_num_uses, or a short
        token_ttl, ends a token in the middle of a fetch. Raises: CallFailedError where it does not say.
        """
        if self._asked_before is not None and self._calls.counts.total() == self._asked_before + 1:
            return True
        return self._calls.call("lookup-self", Token(self._calls.wire).lookup_self, _knows_token)

    def begin_anew(self) -> bool:
        """Logs in once more, for a token that is not accepted; False where there is nothing to log in with.

        Raises: CallFailedError.
        """
        if isinstance(self._login, VaultTokenLogin):
            return False
        self._log_in()
        return True

    def _lengthen(self, kept: VaultToken, now: float) -> None:
        """Renews the token, or logs in where it cannot be renewed (any more)."""
        if kept.is_renewable:
            try:
                renew = Token(self._calls.wire).renew_self
                granted = self._calls.call(
                    "renew-self", renew, _read_granted, share_s=_LENGTHENING_S, once=True
                )
            except CallFailedError as failed:
                is_passing = failed.fault.failure_class is FailureClass.TRANSIENT
                if is_passing and failed.fault.code != UNEXPECTED.code:
                    raise
            else:
                renewed = self._token(granted, now)
                # Near the end of its longest life the server grants what is left of it, and no more.
                if renewed.expires_at > kept.expires_at + 1.0:
                    self.identity = renewed
                    return
        self._log_in(share_s=_LENGTHENING_S)

    def _log_in(self, share_s: float | None = None) -> None:
        wire, login = self._calls.wire, self._login
        wire.token = None
        match login:
            case VaultAppRoleLogin():
                secret_id = read_place(login.secret_id)

                def send() -> Answer:
                    answer: Answer = AppRole(wire).login(
                        login.role_id, secret_id, use_token=False, mount_point=login.mount
                    )
                    return answer
            case VaultAwsLogin():
                question = _question(login, self._clocks.wall())

                def send() -> Answer:
                    path = format_url("/v1/auth/{mount}/login", mount=login.mount)
                    answer: Answer = wire.login(path, use_token=False, json=question)
                    return answer
            case VaultTokenLogin():
                raise AssertionError("a token that stands somewhere needs no login")
            case _:
                assert_never(login)
        granted = self._calls.call("login", send, _read_login, share_s=share_s, once=self._cautious)
        self._cautious = False
        self._asked_before = self._calls.counts.total()
        self.identity = self._token(granted, self._clocks.wall())
        self._carry(granted.token)

    def _token(self, granted: Granted, now: float) -> VaultToken:
        return VaultToken(
            token=granted.token,
            expires_at=now + (granted.lease_s or _FOR_EVER_S),
            method=self._login.method,
            obtained_at=now,
            is_renewable=granted.is_renewable and granted.lease_s > 0,
        )

    def _carry(self, token: str) -> None:
        self._calls.wire.token = token


def _question(login: VaultAwsLogin, now: float) -> dict[str, Any]:
    # Imported here: only this kind of login needs the SDK of AWS, and only once in a token's life.
    from secretsd.refresh.sources.vault.aws_login import signed_question

    return dict(signed_question(login, now))


def _read_login(answer: Answer) -> Granted:
    if answer.status == 200:
        return read_token(answer)
    raise CallFailedError(fault_of_login(answer))


def _read_granted(answer: Answer) -> Granted:
    if answer.status == 200:
        return read_token(answer)
    raise CallFailedError(fault_of_answer(answer))


def _knows_token(answer: Answer) -> bool:
    if answer.status == 200:
        return True
    fault = fault_of_answer(answer)
    if fault is DENIED or fault.failure_class is FailureClass.IDENTITY:
        return False
    raise CallFailedError(fault)
