"""The source `vault`: one request for each secret, by one token."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from secretsd.config.sources import VaultTokenLogin
from secretsd.model import EndpointSeen, SourceView
from secretsd.refresh.sources.clocks import SYSTEM_CLOCKS, Clocks
from secretsd.refresh.sources.faults import BAD_ENDPOINT, CallFailedError
from secretsd.refresh.sources.interface import FetchFailure
from secretsd.refresh.sources.vault.calls import Calls, Timeouts
from secretsd.refresh.sources.vault.errors import ENDPOINT_FAILS
from secretsd.refresh.sources.vault.fetch import Fetch, Outcome
from secretsd.refresh.sources.vault.login import Login
from secretsd.refresh.sources.vault.session import base_url, new_session
from secretsd.refresh.sources.vault.texts import failure
from secretsd.refresh.sources.vault.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from secretsd.config.sources import VaultSource as VaultTable
    from secretsd.model import SecretRef, VaultToken

_DEFAULT_TIMEOUTS = Timeouts()


class VaultSource:
    """Secrets of one mount of one server. Contacts nothing before `fetch`.

    `identity` is the token that an earlier fetch was given; with `renew_identity` it is renewed first, and
    serves on if that fails before it has expired. `witness` is a secret that this source was granted earlier:
    a fetch that is denied everything asks for it to learn whether that is about the secrets or about us. With
    `cautious` the first request is sent once; if it fails, no other is.
    """

    def __init__(
        self,
        table: VaultTable,
        *,
        identity: VaultToken | None,
        witness: SecretRef | None,
        renew_identity: bool = False,
        endpoint: str = "",
        cautious: bool = False,
        timeouts: Timeouts = _DEFAULT_TIMEOUTS,
        clocks: Clocks = SYSTEM_CLOCKS,
    ) -> None:
        self._table = table
        self._identity = identity
        self._witness = witness
        self._renew_identity = renew_identity
        self._endpoint = endpoint
        self._cautious = cautious
        self._timeouts = timeouts
        self._clocks = clocks
        self._calls: Calls | None = None
        self._login: Login | None = None
        self._seen: EndpointSeen | None = None

    @property
    def identity(self) -> VaultToken | None:
        """The token that a login gave, now or earlier; None where it stands somewhere."""
        return self._login.identity if self._login is not None else self._identity

    @property
    def calls(self) -> Mapping[str, int]:
        """Requests sent so far, repetitions included: "kv-read", "login", "renew-self", ..."""
        return {} if self._calls is None else self._calls.counts

    @property
    def endpoints(self) -> tuple[EndpointSeen, ...]:
        """How the server did; empty where it was not asked."""
        return () if self._seen is None else (self._seen,)

    @property
    def view(self) -> SourceView:
        """What was seen of token, server and clock so far."""
        view = SourceView(endpoint=self._table.address, method=self._method())
        if self._calls is not None:
            view = replace(view, skew_s=self._calls.wire.skew_s)
        return view if self.identity is None else replace(view, expires_at=self.identity.expires_at)

    def fetch(self, refs: Sequence[SecretRef], *, deadline: float) -> Iterator[Outcome]:
        """Yield one result for each distinct ref; see `Source.fetch`.

        Denials are yielded last: before that nobody knows whether they are about the secret or about us.
        They are refusals only if the server knows our token, and grants it something else.
        """
        asked = tuple(dict.fromkeys(refs))
        for outcome in self._outcomes(asked, deadline) if asked else ():
            self._see(outcome)
            yield outcome

    def _outcomes(self, asked: tuple[SecretRef, ...], deadline: float) -> Iterator[Outcome]:
        try:
            yield from self._begun(asked, deadline).outcomes()
        except CallFailedError as failed:  # there is no token: nothing was asked for
            for ref in asked:
                yield FetchFailure(ref, failure(failed.fault, ref, self._table))
        finally:
            if self._calls is not None:
                self._calls.wire.close()

    def _begun(self, asked: tuple[SecretRef, ...], deadline: float) -> Fetch:
        """A fetch with a token. Raises: CallFailedError."""
        table = self._table
        session = new_session(table.address, table.ca_file)
        wire = Wire(base_url(table.address), session, table.namespace, self._clocks)
        self._calls = Calls(wire, deadline=deadline, timeouts=self._timeouts, clocks=self._clocks)
        self._login = Login(
            table,
            self._calls,
            self._clocks,
            kept=self._identity,
            renew=self._renew_identity,
            cautious=self._cautious,
        )
        self._login.begin()
        # A login that was answered is the one request that a cautious fetch begins with.
        is_still_cautious = self._cautious and not self._calls.counts
        return Fetch(
            table, self._calls, self._login, asked, witness=self._witness, cautious=is_still_cautious
        )

    def _see(self, outcome: Outcome) -> None:
        """One secret that came, or was refused, is an answer of the whole server."""
        if not self.calls or (self._seen is not None and self._seen.did == "answers"):
            return  # it was never asked, or has answered before
        code = outcome.failure.code if isinstance(outcome, FetchFailure) else ""
        if code == BAD_ENDPOINT.code:
            return  # nor was it by a request that could not be sent
        did: Literal["answers", "fails"] = "fails" if code in ENDPOINT_FAILS else "answers"
        self._seen = EndpointSeen(self._endpoint, did, code if did == "fails" else "")

    def _method(self) -> str:
        login = self._table.login
        return f"a token at {login.token}" if isinstance(login, VaultTokenLogin) else login.method
