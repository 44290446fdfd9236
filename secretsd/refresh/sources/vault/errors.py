"""What an answer of Vault that is no secret means to us. Pure; the server's own words never get past here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from secretsd.errors import FailureClass
from secretsd.refresh.sources.faults import (
    DELETED,
    DENIED,
    INCOMPLETE,
    MISSING,
    NO_ANSWER,
    SERVER_ERROR,
    THROTTLED,
    TLS_FAILED,
    UNEXPECTED,
    UNKNOWN_CREDENTIALS,
    Fault,
    Scope,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRANSIENT, _IDENTITY = FailureClass.TRANSIENT, FailureClass.IDENTITY
_DATA = FailureClass.DATA

NO_CA_FILE = Fault("bad-ca-file", _IDENTITY, Scope.SOURCE)
# A person has to unseal it: nothing is gained by asking again within the second.
SEALED = Fault("vault-sealed", _TRANSIENT, Scope.SOURCE)
STANDBY = Fault("vault-standby", _TRANSIENT, Scope.SOURCE)
UNINITIALISED = Fault("vault-uninitialised", _TRANSIENT, Scope.SOURCE)
LOGIN_REJECTED = Fault("login-rejected", _IDENTITY, Scope.SOURCE)
# Data, not refusals: nothing was revoked, so nothing published may be withdrawn for them.
INEXACT_NUMBER = Fault("inexact-number", _DATA, Scope.SECRET)
NO_MOUNT = Fault("wrong-mount", _DATA, Scope.SOURCE)
NO_NAMESPACE = Fault("wrong-namespace", _DATA, Scope.SOURCE)
OTHER_KV_VERSION = Fault("wrong-kv-version", _DATA, Scope.SOURCE)

# Codes that are about the endpoint or the way to it.
ENDPOINT_FAILS = frozenset(
    fault.code
    for fault in (
        *(THROTTLED, SERVER_ERROR, INCOMPLETE, NO_ANSWER, TLS_FAILED),
        *(SEALED, STANDBY, UNINITIALISED),
    )
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP; `body` was read to its end, and may hold a secret."""

    status: int
    body: bytes = field(repr=False)
    document: Mapping[str, object] | None = field(repr=False)  # of the body; None where it is no JSON object


def fault_of_answer(answer: Answer) -> Fault:
    """The fault behind an answer that is not 200. What Vault did not write itself is never a refusal."""
    errors = _errors(answer)
    if answer.status in (307, 308):
        return STANDBY  # it sends us to the active node, whose address nobody has configured here
    if errors is None and not _is_empty_read(answer):
        return replace(_UNSIGNED.get(answer.status) or _unwritten(answer.status), detail=_http(answer))
    if answer.status == 503:
        return SEALED if _says(errors, "sealed") else _server_error(answer)
    if fault := _BY_STATUS.get(answer.status):
        return fault
    if answer.status >= 500:
        return STANDBY if _says(errors, "standby", "active cluster node") else _server_error(answer)
    if answer.status == 404:
        return _not_found(answer, errors)
    if answer.status == 405 or _says(errors, "unsupported operation", "unsupported path"):
        return NO_MOUNT
    if answer.status == 400 and _says(errors, "missing client token"):
        return UNKNOWN_CREDENTIALS
    return replace(UNEXPECTED, detail=_http(answer))


_BY_STATUS: Mapping[int, Fault] = {
    403: DENIED,
    # A node that has not caught up with what this token was told by another.
    412: replace(STANDBY, scope=Scope.CALL, retry=True),
    429: THROTTLED,
    472: STANDBY,
    473: STANDBY,
    501: UNINITIALISED,
}
# Balancers that ask sys/health may pass its bare status on.
_UNSIGNED: Mapping[int, Fault] = {429: THROTTLED, 472: STANDBY, 473: STANDBY}


def fault_of_login(answer: Answer) -> Fault:
    """The fault behind a login that gave no token: what the server itself says no to is about who we are."""
    fault = fault_of_answer(answer)
    if fault.code == "access-denied" or (fault.code == "unexpected-error" and answer.status < 500):
        return replace(LOGIN_REJECTED, detail=_http(answer))
    if fault.code in ("secret-missing", "wrong-mount"):
        return replace(LOGIN_REJECTED, detail="nothing is mounted at the login's mount")
    return replace(fault, scope=Scope.SOURCE)


def _not_found(answer: Answer, errors: list[str] | None) -> Fault:
    if _says(errors, "namespace not found"):
        return NO_NAMESPACE
    if _says(errors, "no handler for route"):
        return NO_MOUNT
    if errors:
        return replace(UNEXPECTED, detail=_http(answer))
    document = answer.document or {}
    if _says(_texts(document.get("warnings")), "versioned K/V"):
        return OTHER_KV_VERSION
    data = document.get("data")
    metadata = data.get("metadata") if isinstance(data, dict) else None
    return DELETED if isinstance(metadata, dict) and _is_gone(metadata) else MISSING


def _is_gone(metadata: Mapping[str, object]) -> bool:
    return bool(metadata.get("deletion_time")) or metadata.get("destroyed") is True


def _errors(answer: Answer) -> list[str] | None:
    """What the server says of its refusal; None where this is not how Vault writes one."""
    return _texts((answer.document or {}).get("errors"))


def _is_empty_read(answer: Answer) -> bool:
    """A 404 that carries a whole answer without a value: of a deleted version, or with a warning."""
    document = answer.document or {}
    return answer.status == 404 and "request_id" in document and "data" in document


def _texts(found: object) -> list[str] | None:
    if isinstance(found, list) and all(isinstance(each, str) for each in found):
        return found
    return None


def _says(texts: list[str] | None, *phrases: str) -> bool:
    return any(phrase in text for text in texts or () for phrase in phrases)


def _unwritten(status: int) -> Fault:
    return SERVER_ERROR if status >= 500 else INCOMPLETE


def _server_error(answer: Answer) -> Fault:
    return replace(SERVER_ERROR, detail=_http(answer))


def _http(answer: Answer) -> str:
    return f"HTTP {answer.status}"
