"""The Parameter Store of Systems Manager: how it is asked, and whether its answers are whole. Pure.

GetParameters alone is called, for a single parameter, too: each action of the store needs a grant of its
own, and so one is enough. A SecureString comes decrypted; a String or a StringList is taken as the text that
it is, with its commas: settings stand beside secrets, and which of them is one is not for us to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from secretsd.model import FetchedSecret
from secretsd.refresh.sources.aws.answers import Entry, entries, payload_of_text
from secretsd.refresh.sources.aws.service import Found, Request
from secretsd.refresh.sources.aws.ssm_texts import TEXTS
from secretsd.refresh.sources.faults import EMPTY, INCOMPLETE, MISSING, CallFailedError, Fault

if TYPE_CHECKING:
    from secretsd.model import SecretRef
    from secretsd.refresh.sources.aws.session import ServiceName

T = TypeVar("T")

MAX_BATCH = 10  # the limit of Names

_TYPES = ("SecureString", "String", "StringList")  # no set: what is looked for in it can be of any kind


class ParameterStore:
    """See `Service`."""

    client_name: ServiceName = "ssm"
    grants_batches_apart = False  # one name that may not be read has its batch denied, and only that
    texts = TEXTS

    def tasks(self, refs: Sequence[SecretRef]) -> Sequence[tuple[SecretRef, ...]]:
        """Full batches; none asks for two versions of one parameter, whose answers it could confuse."""
        batches: list[dict[str, SecretRef]] = []
        for ref in refs:
            for batch in batches:
                if len(batch) < MAX_BATCH and ref.id not in batch:
                    batch[ref.id] = ref
                    break
            else:
                batches.append({ref.id: ref})
        return tuple(tuple(batch.values()) for batch in batches)

    def single(self, ref: SecretRef) -> Request[Found]:
        """GetParameters for one name."""
        return _get((ref,), lambda answer: _settled(read_batch((ref,), answer), ref))

    def batch(self, refs: Sequence[SecretRef]) -> Request[Mapping[SecretRef, Found]]:
        """GetParameters. A version or label that is not there is left out: see `doubt`."""

        def read(answer: Entry) -> Mapping[SecretRef, Found]:
            found = read_batch(refs, answer)
            return {ref: each for ref, each in found.items() if ref.is_current or each is not MISSING}

        return _get(refs, read)

    def doubt(self, ref: SecretRef, found: Found) -> Request[Found] | None:
        """For a version or label that is not there: is its parameter? A label that moved is no refusal."""
        if ref.is_current or found is not MISSING:
            return None

        def read(answer: Entry) -> Found:
            return MISSING if _is_invalid(ref.id, answer) else EMPTY

        return Request("get_parameters", {"Names": [ref.id], "WithDecryption": False}, read)


def _get(refs: Sequence[SecretRef], read: Callable[[Entry], T]) -> Request[T]:
    return Request("get_parameters", {"Names": [_asked(ref) for ref in refs], "WithDecryption": True}, read)


def _asked(ref: SecretRef) -> str:
    return ref.id + _selector(ref)


def _selector(ref: SecretRef) -> str:
    """As it is asked for and as it comes back: ":3", ":live"."""
    if ref.is_current:
        return ""
    return f":{ref.stage if ref.version is None else ref.version}"


def read_batch(refs: Sequence[SecretRef], answer: Entry) -> dict[SecretRef, Found]:
    """What an answer says of each of `refs`: its value, MISSING, or nothing where that is not whole.

    Raises:
        CallFailedError: neither list is there, or one is no list: "incomplete-answer".
    """
    values, invalid = _lists(answer)
    found: dict[SecretRef, Found] = {}
    for ref in refs:
        about = [entry for entry in values if _is_about(ref.id, entry)]
        if not about and _asked(ref) in invalid:
            found[ref] = MISSING
        elif len(about) == 1 and _is_whole(ref, about[0]):
            found[ref] = _read_value(ref, about[0])
    return found


def _lists(answer: Entry) -> tuple[tuple[Entry, ...], Sequence[object]]:
    values, invalid = answer.get("Parameters"), answer.get("InvalidParameters")
    if (values is None and invalid is None) or not isinstance(invalid, list | None):
        raise CallFailedError(INCOMPLETE)
    return entries(values), invalid or ()


def _settled(found: Mapping[SecretRef, Found], ref: SecretRef) -> Found:
    if ref not in found:
        raise CallFailedError(INCOMPLETE)
    return found[ref]


def _is_invalid(name: str, answer: Entry) -> bool:
    values, invalid = _lists(answer)
    is_there = any(_is_about(name, entry) for entry in values)
    if is_there == (name in invalid):
        raise CallFailedError(INCOMPLETE)
    return not is_there


def _is_about(name: str, entry: Entry) -> bool:
    # A parameter of another account is asked for by its ARN; which of the two comes back is not written down.
    return name in (entry.get("Name"), entry.get("ARN"))


def _is_whole(ref: SecretRef, entry: Entry) -> bool:
    version, selector = entry.get("Version"), entry.get("Selector")
    if not isinstance(version, int) or version < 1 or not isinstance(entry.get("Value"), str):
        return False
    if selector not in (None, "", _selector(ref)):
        return False
    return entry.get("Type") in _TYPES and ref.version in (None, str(version))


def _read_value(ref: SecretRef, entry: Entry) -> Found:
    payload = payload_of_text(str(entry["Value"]))
    if isinstance(payload, Fault):
        return payload
    if not payload:
        return EMPTY
    modified = entry.get("LastModifiedDate")
    created_at = modified.timestamp() if isinstance(modified, datetime) else None
    return FetchedSecret(ref, str(entry["Version"]), created_at, payload)


PARAMETER_STORE = ParameterStore()
