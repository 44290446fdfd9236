"""The credentials that a machine's role gives, as a value that the conductor can keep."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.credentials import RefreshableCredentials

from secretsd.model import CloudIdentity
from secretsd.refresh.sources.aws.errors import EXPIRED, fault_of_exception
from secretsd.refresh.sources.faults import (
    METADATA_UNREACHABLE,
    NO_CREDENTIALS,
    CallFailedError,
    Fault,
    Scope,
)

if TYPE_CHECKING:
    from botocore.session import Session


def resolve_identity(session: Session, now: float) -> CloudIdentity | None:
    """The role credentials that AWS's own search order finds, with their expiry.

    None for static ones: the environment or a shared file holds them, and each session reads them
    without the network. `session` comes from `session.new_session`; `now` is in seconds since the epoch.
    The metadata service may block for up to 6 s (three requests, each tried twice with 1 s).

    Raises:
        CallFailedError: "metadata-unreachable" (transient), "no-credentials" or another fault of identity.
    """
    try:
        return _resolve(session, now)
    except CallFailedError:
        raise
    except Exception as error:  # noqa: BLE001 - botocore lets ValueError and RuntimeError out here
        fault = _fault(error, now)
    # Raised outside the handler, so that no error of the SDK stays attached.
    raise CallFailedError(fault)


def _resolve(session: Session, now: float) -> CloudIdentity | None:
    statuses = _watched_statuses(session)
    credentials = session.get_credentials()
    if credentials is None:
        raise CallFailedError(METADATA_UNREACHABLE if _end_in_a_failure(statuses) else NO_CREDENTIALS)
    if not isinstance(credentials, RefreshableCredentials):
        return None
    frozen = credentials.get_frozen_credentials()
    # botocore shows the expiry nowhere else. It is later than the role's when the metadata service has
    # none newer: botocore extends it, and AWS accepts that for a while during its own outages.
    expires_at = credentials._expiry_time  # type: ignore[attr-defined]  # noqa: SLF001
    if expires_at is None or not frozen.access_key or not frozen.secret_key:
        raise CallFailedError(METADATA_UNREACHABLE)
    return CloudIdentity(
        access_key=frozen.access_key,
        secret_key=frozen.secret_key,
        token=frozen.token,
        expires_at=expires_at.timestamp(),
        method=credentials.method,
        obtained_at=now,
    )


def _watched_statuses(session: Session) -> list[int | None]:
    """The HTTP statuses of what the metadata service will answer, None for no answer; filled as it does.

    botocore itself takes a service that fails once it has given a token for one that has no role.
    """
    statuses: list[int | None] = []
    provider = session.get_component("credential_provider").get_provider("iam-role")
    http = provider._role_fetcher._session  # noqa: SLF001
    send = http.send

    def watched(request: object) -> Any:
        statuses.append(None)
        response = send(request)
        statuses[-1] = response.status_code
        return response

    http.send = watched
    return statuses


def _end_in_a_failure(statuses: list[int | None]) -> bool:
    last = statuses[-1] if statuses else 404  # nobody was asked: there is no metadata service here
    return last is None or last >= 500


def _fault(error: Exception, now: float) -> Fault:
    if isinstance(error, RuntimeError):
        return EXPIRED  # "refreshed credentials are still expired"
    fault = fault_of_exception(error, now)
    if fault.code == "incomplete-answer":
        return METADATA_UNREACHABLE
    if fault.scope is Scope.SECRET:  # STS refused to hand out the role
        return replace(NO_CREDENTIALS, detail=fault.detail)
    return replace(fault, scope=Scope.SOURCE)
