"""A source of AWS: as few calls as its service allows, and no secret fails for another's sake."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from secretsd.model import EndpointSeen, SourceView
from secretsd.refresh.sources.aws.calls import Calls, event_name
from secretsd.refresh.sources.aws.errors import ENDPOINT_FAILS, NO_REGION, fault_of_exception, skew_of_answer
from secretsd.refresh.sources.aws.fetch import Fetch, Outcome
from secretsd.refresh.sources.aws.identity import resolve_identity
from secretsd.refresh.sources.aws.session import (
    DEFAULT_TIMEOUTS,
    Timeouts,
    client_config,
    new_client,
    new_session,
)
from secretsd.refresh.sources.clocks import SYSTEM_CLOCKS, Clocks
from secretsd.refresh.sources.faults import BAD_ENDPOINT, CallFailedError, Scope
from secretsd.refresh.sources.interface import FetchFailure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from botocore.client import BaseClient
    from botocore.session import Session

    from secretsd.model import CloudIdentity, SecretRef
    from secretsd.refresh.sources.aws.service import Service


class AwsSource:
    """What `service` holds in one account and region. Contacts nothing before `fetch`.

    `region` and `endpoint_url` of None come from the environment or ~/.aws/config. Without an `identity`
    the credentials are searched for as AWS's tools do, and role credentials found so are shown as
    `identity`. `witness` is a secret that this source was granted earlier: a fetch that is denied everything
    asks for it to learn whether that is about the secrets or about who we are. With `renew_identity` new role
    credentials are asked for first; `identity` serves if that fails before it has expired. `endpoint` is the
    name that `endpoints` tells of. With `cautious` the first request is sent once; if it fails, no other is.
    """

    def __init__(
        self,
        service: Service,
        *,
        region: str | None,
        endpoint_url: str | None,
        identity: CloudIdentity | None,
        witness: SecretRef | None,
        renew_identity: bool = False,
        endpoint: str = "",
        cautious: bool = False,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        clocks: Clocks = SYSTEM_CLOCKS,
    ) -> None:
        self._service = service
        self._region = region
        self._endpoint_url = endpoint_url
        self._identity = identity
        self._witness = witness
        self._renew_identity = renew_identity
        self._timeouts = timeouts
        self._clocks = clocks
        self._counts: Counter[str] = Counter()
        self._view = SourceView()
        self._endpoint = endpoint
        self._cautious = cautious
        self._seen: EndpointSeen | None = None

    @property
    def identity(self) -> CloudIdentity | None:
        """The role credentials that were given or found; None for static ones."""
        return self._identity

    @property
    def view(self) -> SourceView:
        """What was seen of credentials, endpoint and clock so far."""
        return self._view

    @property
    def calls(self) -> Mapping[str, int]:
        """Requests sent so far, repetitions included, by operation ("BatchGetSecretValue")."""
        return self._counts

    @property
    def endpoints(self) -> tuple[EndpointSeen, ...]:
        """How the endpoint did; empty where it was not asked."""
        return () if self._seen is None else (self._seen,)

    def fetch(self, refs: Sequence[SecretRef], *, deadline: float) -> Iterator[Outcome]:
        """Yield one result for each distinct ref; see `Source.fetch`.

        Denials are yielded last unless something was granted: before that nobody knows whether they are
        about the secret or about our identity. They are refusals only if this very fetch was granted
        something else, be it the witness alone.
        """
        asked = tuple(dict.fromkeys(refs))
        if not asked:
            return
        try:
            client = self._client()
        except CallFailedError as failed:
            for ref in asked:
                yield FetchFailure(ref, self._service.texts.failure(failed.fault, ref))
            return
        calls = Calls(
            client, deadline=deadline, timeouts=self._timeouts, clocks=self._clocks, counts=self._counts
        )
        fetch = Fetch(self._service, calls, asked, witness=self._witness, cautious=self._cautious)
        for outcome in fetch.outcomes():
            self._see(outcome)
            yield outcome

    def _see(self, outcome: Outcome) -> None:
        """One secret that came, or was refused, is an answer of the whole endpoint."""
        if not self._counts or (self._seen is not None and self._seen.did == "answers"):
            return  # it was never asked, or has answered before
        code = outcome.failure.code if isinstance(outcome, FetchFailure) else ""
        did: Literal["answers", "fails"] = "fails" if code in ENDPOINT_FAILS else "answers"
        self._seen = EndpointSeen(self._endpoint, did, code if did == "fails" else "", self._region)

    def _client(self) -> BaseClient:
        session = new_session(self._timeouts)
        now = self._clocks.wall()
        region = self._region_of(session)
        self._identity = self._identity_for(session, now)
        try:
            self._view = replace(self._view, **_credentials_seen(session, self._identity))
            client = self._signed_by(session, region, self._identity)
            self._view = replace(self._view, endpoint=client.meta.endpoint_url)
            client.meta.events.register(f"response-received.{event_name(client)}", self._see_clock)
            return client
        except Exception as error:  # noqa: BLE001 - whatever a broken environment makes it raise
            # A plain ValueError is botocore's "Invalid endpoint".
            fault = BAD_ENDPOINT if type(error) is ValueError else fault_of_exception(error, now)
        raise CallFailedError(replace(fault, scope=Scope.SOURCE))

    def _see_clock(self, response_dict: Mapping[str, object] | None = None, **_: object) -> None:
        skew_s = skew_of_answer(response_dict, self._clocks.wall())
        if skew_s is not None:
            self._view = replace(self._view, skew_s=skew_s)

    def _identity_for(self, session: Session, now: float) -> CloudIdentity | None:
        kept = self._identity
        if kept is not None and not self._renew_identity:
            return kept
        try:
            return resolve_identity(session, now)
        except CallFailedError:
            if kept is None or kept.expires_at <= now:
                raise
            return kept

    def _region_of(self, session: Session) -> str:
        try:
            region = self._region or os.environ.get("AWS_REGION") or session.get_config_variable("region")
        except Exception as error:  # noqa: BLE001 - whatever a broken environment makes it raise
            fault = fault_of_exception(error, self._clocks.wall())
            region = None
        else:
            fault = NO_REGION
        if not isinstance(region, str) or not region:
            raise CallFailedError(fault)
        return region

    def _signed_by(self, session: Session, region: str, identity: CloudIdentity | None) -> BaseClient:
        # With an identity of None the SDK takes the session's static credentials.
        return new_client(
            session,
            self._service.client_name,
            region_name=region,
            endpoint_url=self._endpoint_url,
            aws_access_key_id=identity.access_key if identity else None,
            aws_secret_access_key=identity.secret_key if identity else None,
            aws_session_token=identity.token if identity else None,
            config=client_config(self._timeouts),
        )


def _credentials_seen(session: Session, identity: CloudIdentity | None) -> dict[str, Any]:
    """Where the credentials came from and when they end; the session has looked for static ones before."""
    if identity is not None:
        return {"method": identity.method, "expires_at": identity.expires_at}
    credentials = session.get_credentials()
    return {"method": credentials.method if credentials is not None else None}
