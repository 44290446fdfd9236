"""Keys and approvals as /v1/secretsd/ tells of them: JSON without a secret. Pure."""

from __future__ import annotations

import base64
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from secretsd.config.signer import SigningKey
    from secretsd.signing.approvals import Approval
    from secretsd.signing.errors import SigningError
    from secretsd.signing.model import KeyVersion
    from secretsd.signing.pkcs11.capabilities import Capabilities

Told = dict[str, object]


def key_told(
    name: str,
    key: SigningKey,
    words: frozenset[str],
    versions: Sequence[KeyVersion],
    problem: SigningError | None,
) -> Told:
    """One configured key: what may be done with it, its versions (oldest first), why it cannot be used."""
    return {
        "name": name,
        "type": key.type,
        "operations": list(key.operations),
        "mechanisms": sorted(words),
        "versions": [version_told(each) | {"retired": each.is_retired} for each in versions],
        "problem": error_told(problem),
    }


def version_told(version: KeyVersion) -> Told:
    public: Told = {} if version.public_key is None else {"public_key": pem(version.public_key)}
    return {"version": version.number, **public}


def made_told(version: KeyVersion) -> Told:
    """A version that was generated, imported or unwrapped."""
    return {"name": version.key} | version_told(version)


def approval_told(approval: Approval, now: float) -> Told:
    """`blob_sha256` is for whoever approves: they compare it with what they were asked to agree to."""
    return {
        "request_id": approval.id,
        "key": approval.key,
        "blob_sha256": approval.blob_sha256.hex(),
        "requester_uid": approval.requester_uid,
        "approver_uid": approval.approver_uid,
        "expires_in_s": max(0, round(approval.expires_at_s - now)),
    }


def problems_told(problems: Mapping[str, SigningError]) -> Told:
    return {name: error_told(each) for name, each in problems.items()}


def error_told(error: SigningError | None) -> Told | None:
    return None if error is None else {"code": error.code, "text": str(error), "fix": error.advice}


def token_told(capabilities: Capabilities | None) -> Told | None:
    """Which token it is; None before it was there for the first time."""
    if capabilities is None:
        return None
    return {
        "library": capabilities.library,
        "label": capabilities.token,
        "model": capabilities.model,
        "serial": capabilities.serial,
        "mechanisms": capabilities.mechanisms,
        "lacking": {name: list(missing) for name, missing in capabilities.lacking.items()},
    }


def pem(der: bytes) -> str:
    """A SubjectPublicKeyInfo as RFC 7468 writes it, ending in a newline."""
    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])
