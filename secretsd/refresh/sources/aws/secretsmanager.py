"""Secrets Manager: how it is asked, and whether what it answers is whole and about what was asked. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from secretsd.model import FetchedSecret
from secretsd.refresh.secret_ids import is_arn_without_suffix
from secretsd.refresh.sources.aws.answers import Entry, entries, payload_of_bytes, payload_of_text
from secretsd.refresh.sources.aws.errors import fault_of_code
from secretsd.refresh.sources.aws.secretsmanager_texts import TEXTS
from secretsd.refresh.sources.aws.service import Found, Request
from secretsd.refresh.sources.faults import DENIED, INCOMPLETE, CallFailedError, Fault, Scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secretsd.model import SecretRef
    from secretsd.refresh.sources.aws.session import ServiceName

MAX_BATCH = 20  # SecretIdList's limit; moto accepts more, AWS does not


class SecretsManager:
    """See `Service`."""

    client_name: ServiceName = "secretsmanager"
    grants_batches_apart = True  # secrets that may not be read stand in the `Errors` of an answer
    texts = TEXTS

    def tasks(self, refs: Sequence[SecretRef]) -> Sequence[tuple[SecretRef, ...]]:
        """Batches of what BatchGetSecretValue can answer, then one by one what needs a stage or a version."""
        return tuple(_tasks(refs))

    def single(self, ref: SecretRef) -> Request[Found]:
        """GetSecretValue."""
        params = {"SecretId": ref.id}
        # Always one of the two: a read across accounts is denied without an explicit stage.
        if ref.version is not None:
            params["VersionId"] = ref.version
        else:
            params["VersionStage"] = ref.stage
        return Request("get_secret_value", params, lambda answer: read_value(ref, answer))

    def batch(self, refs: Sequence[SecretRef]) -> Request[Mapping[SecretRef, Found]]:
        """BatchGetSecretValue."""
        return Request(
            "batch_get_secret_value",
            {"SecretIdList": [ref.id for ref in refs]},
            lambda answer: read_batch(refs, answer),
        )

    def doubt(self, ref: SecretRef, found: Found) -> None:
        """Nothing: an answer of Secrets Manager tells what is wrong."""


def _tasks(refs: Sequence[SecretRef]) -> Iterator[tuple[SecretRef, ...]]:
    current = [ref for ref in refs if ref.is_current]
    for start in range(0, len(current), MAX_BATCH):
        yield tuple(current[start : start + MAX_BATCH])
    for ref in refs:
        if not ref.is_current:
            yield (ref,)


def read_batch(refs: Sequence[SecretRef], answer: Entry) -> dict[SecretRef, Found]:
    """What a batch answer says of each of `refs`, without those that only a call of their own can settle.

    Raises:
        CallFailedError: neither list is there, or one is no list: "incomplete-answer".
    """
    values, errors = answer.get("SecretValues"), answer.get("Errors")
    if values is None and errors is None:
        raise CallFailedError(INCOMPLETE)
    found = {ref: _found_in(ref, entries(values), entries(errors)) for ref in refs}
    return {ref: each for ref, each in found.items() if each is not None}


def _found_in(ref: SecretRef, values: Sequence[Entry], errors: Sequence[Entry]) -> Found | None:
    values = [entry for entry in values if is_about(ref, entry)]
    errors = [entry for entry in errors if tells_error_of(ref, entry)]
    try:
        if len(values) == 1 and not errors:
            return read_value(ref, values[0])
    except CallFailedError:
        return None
    if values or len(errors) != 1:
        return None
    fault = fault_of_code(errors[0].get("ErrorCode"), errors[0].get("Message"))
    if fault.scope is not Scope.SECRET:
        return None
    # A batch names no stage, and a secret of another account, which only its ARN can name, may be denied
    # for that alone.
    if fault.code == DENIED.code and ref.id.startswith("arn:"):
        return None
    return fault


def read_value(ref: SecretRef, entry: Entry) -> Found:
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
        return payload_of_text(text)
    if isinstance(binary, bytes) and text is None:
        return payload_of_bytes(binary)
    raise CallFailedError(INCOMPLETE)


SECRETS_MANAGER = SecretsManager()
