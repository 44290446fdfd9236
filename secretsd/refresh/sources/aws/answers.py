"""Whether an answer of Secrets Manager is whole and is about what was asked. Pure: nothing is contacted.

botocore turns an answer that was cut short into an empty success and checks no types, so everything is
checked here before it counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from secretsd.errors import FailureClass
from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh.secret_ids import is_arn_without_suffix
from secretsd.refresh.sources.aws.errors import INCOMPLETE, CallFailedError, Fault, Scope

MAX_VALUE_BYTES = 65_536

NOT_UTF8 = Fault("not-utf8", FailureClass.DATA, Scope.SECRET)
TOO_LARGE = Fault("too-large", FailureClass.DATA, Scope.SECRET)

Entry = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """The two lists of a BatchGetSecretValue answer; what is in them is not yet checked."""

    values: tuple[Entry, ...]
    errors: tuple[Entry, ...]


def read_batch(answer: Entry) -> BatchAnswer:
    """The lists of a batch answer.

    Raises:
        CallFailedError: neither list is there, or one is no list: "incomplete-answer".
    """
    values, errors = answer.get("SecretValues"), answer.get("Errors")
    if values is None and errors is None:
        raise CallFailedError(INCOMPLETE)
    return BatchAnswer(_entries(values), _entries(errors))


def read_value(ref: SecretRef, entry: Entry) -> FetchedSecret | Fault:
    """The secret in `entry`, or the fault of its data (not UTF-8, too large).

    Raises:
        CallFailedError: `entry` is not a whole answer for `ref`: "incomplete-answer".
    """
    if not (is_about(ref, entry) and _has_version(ref, entry)):
        raise CallFailedError(INCOMPLETE)
    payload = _payload(entry)
    if isinstance(payload, Fault):
        return payload
    created = entry.get("CreatedDate")
    return FetchedSecret(
        ref=ref,
        version_id=str(entry["VersionId"]),
        created_at=created.timestamp() if isinstance(created, datetime) else None,
        payload=payload,
        is_binary="SecretBinary" in entry,
    )


def is_about(ref: SecretRef, entry: Entry) -> bool:
    """Whether the value in `entry` is of the secret that `ref` names, by name, ARN or ARN without suffix."""
    arn, name = entry.get("ARN"), entry.get("Name")
    if not (isinstance(arn, str) and arn and isinstance(name, str) and name):
        return False
    return ref.id in (name, arn) or is_arn_without_suffix(ref.id, arn)


def tells_error_of(ref: SecretRef, entry: Entry) -> bool:
    """Whether the entry of `Errors[]` is about `ref`; AWS echoes the id that was asked, or its ARN."""
    given = entry.get("SecretId")
    if not isinstance(given, str) or not given:
        return False
    if ref.id == given or is_arn_without_suffix(ref.id, given):
        return True
    return given.startswith("arn:") and is_arn_without_suffix(f"{given.rpartition(':')[0]}:{ref.id}", given)


def _entries(found: object) -> tuple[Entry, ...]:
    if found is None:
        return ()
    if not isinstance(found, Sequence) or not all(isinstance(entry, Mapping) for entry in found):
        raise CallFailedError(INCOMPLETE)
    return tuple(found)


def _has_version(ref: SecretRef, entry: Entry) -> bool:
    version, stages = entry.get("VersionId"), entry.get("VersionStages", [])
    if not isinstance(version, str) or not version:
        return False
    if not isinstance(stages, list) or not all(isinstance(stage, str) for stage in stages):
        return False
    return version == ref.version if ref.version is not None else ref.stage in stages


def _payload(entry: Entry) -> bytes | Fault:
    text, binary = entry.get("SecretString"), entry.get("SecretBinary")
    if isinstance(text, str) and binary is None:
        if len(text) > MAX_VALUE_BYTES:  # not encoded to find that out: it may be as large as memory
            return TOO_LARGE
        payload = _as_utf8(text)
    elif isinstance(binary, bytes) and text is None:
        payload = binary
    else:
        raise CallFailedError(INCOMPLETE)
    if payload is None:
        return NOT_UTF8
    return payload if len(payload) <= MAX_VALUE_BYTES else TOO_LARGE


def _as_utf8(text: str) -> bytes | None:
    # JSON can name half of a surrogate pair. The error is not let out: it holds the text.
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return None
