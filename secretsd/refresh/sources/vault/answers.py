"""Whether an answer of a key-value engine is whole and is about what was asked. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh.secret_object import DUPLICATE, NumberText, parse_object
from secretsd.refresh.sources.faults import EMPTY, INCOMPLETE, NOT_UTF8, TOO_LARGE, CallFailedError, Fault
from secretsd.refresh.sources.vault.errors import INEXACT_NUMBER, Answer

MAX_VALUE_BYTES = 65_536  # as Secrets Manager: what works here works there

# KV v1 keeps no versions: each of its secrets has this one for ever. A version of it is asked for only after
# a reboot, for what an operator holds; what comes then cannot be told from what came later.
ONLY_VERSION = "unversioned"
_NOT_KNOWN_TO_BE_HELD = "unversioned-now"

# "2026-11-24T13:00:33.924837567Z": nine digits are more than Python's own reader takes.
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
# A version is counted from 1, a token is a word of some hundred characters. What is longer, or could not
# stand in a header, no server of Vault's has written: it is neither kept nor sent on to the conductor.
_LONGEST_VERSION = 18
_LONGEST_TOKEN = 16 * 1024
# Every number of so many significant digits has a binary floating point number of its own.
_EXACT_DIGITS = 15

Document = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Granted:
    """What a login or a renewal gave."""

    token: str = field(repr=False)
    lease_s: int  # 0: it does not end
    is_renewable: bool


def document_of(body: bytes) -> Document | None:
    """The JSON object that `body` is, numbers as their text; None for anything else, or less."""
    found = parse_object(body)
    return found if isinstance(found, dict) else None


def read_value(ref: SecretRef, answer: Answer, *, kv_version: int) -> FetchedSecret | Fault:
    """The secret in an answer of status 200, or the fault of its data.

    Raises:
        CallFailedError: it is not a whole answer for `ref`: "incomplete-answer".
    """
    document = _whole(answer)
    if kv_version == 1:
        only = ONLY_VERSION if ref.version is None else _NOT_KNOWN_TO_BE_HELD
        return _secret(ref, only, None, _object(document, "data"))
    outer = _object(document, "data")
    metadata = _object(outer, "metadata")
    version = metadata.get("version")
    if not (isinstance(version, NumberText) and version.isdigit() and len(version) <= _LONGEST_VERSION):
        raise CallFailedError(INCOMPLETE)
    if ref.version is not None and ref.version != version:
        raise CallFailedError(INCOMPLETE)
    members = _object(outer, "data")
    found = _secret(ref, str(version), _seconds(metadata.get("created_time")), members)
    return INEXACT_NUMBER if isinstance(found, FetchedSecret) and _is_inexact(members) else found


def read_token(answer: Answer) -> Granted:
    """What a login or a renewal gave. Raises: CallFailedError "incomplete-answer"."""
    auth = _object(_whole(answer), "auth")
    token, lease, renewable = auth.get("client_token"), auth.get("lease_duration"), auth.get("renewable")
    if not (isinstance(token, str) and _is_token(token)) or isinstance(token, NumberText):
        raise CallFailedError(INCOMPLETE)
    if not (isinstance(lease, NumberText) and lease.isdigit() and len(lease) < 12):
        raise CallFailedError(INCOMPLETE)
    return Granted(token, int(lease), renewable is True)


def _is_token(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_TOKEN and text.isascii() and text.isprintable()


def tells_other_kv_version(answer: Answer, *, kv_version: int) -> bool:
    """Whether what the server says of a mount is another version of the engine than `kv_version`.

    `answer` is of sys/internal/ui/mounts; whatever cannot be read tells nothing.
    """
    data = (answer.document or {}).get("data")
    options = data.get("options") if isinstance(data, dict) else None
    if answer.status != 200 or not isinstance(data, dict) or data.get("type") != "kv":
        return False
    version = options.get("version") if isinstance(options, dict) else None
    return str(version or "1") != str(kv_version)


def _whole(answer: Answer) -> Document:
    if answer.status != 200 or answer.document is None:
        raise CallFailedError(INCOMPLETE)
    return answer.document


def _object(document: Document, key: str) -> Document:
    found = document.get(key)
    if not isinstance(found, dict):
        raise CallFailedError(INCOMPLETE)
    return found


def _secret(
    ref: SecretRef, version_id: str, created_at: float | None, members: Document
) -> FetchedSecret | Fault:
    if not members:
        return EMPTY
    payload = _payload(members)
    if payload is None:
        return NOT_UTF8
    if len(payload) > MAX_VALUE_BYTES:
        return TOO_LARGE
    return FetchedSecret(ref, version_id, created_at, payload)


def _payload(members: Document) -> bytes | None:
    # JSON can name half of a surrogate pair. The error is not let out: it holds the text.
    try:
        return _written(members).encode("utf-8")
    except UnicodeEncodeError:
        return None
    except RecursionError:
        pass
    raise CallFailedError(INCOMPLETE)


def _written(value: object) -> str:
    """JSON again, each number as the text that it came as: `json` alone would quote it, or change it."""
    match value:
        case NumberText():
            return str(value)
        case dict():
            return "{" + ", ".join(f"{_written(key)}: {_written(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_written, value)) + "]"
    if value is DUPLICATE:
        raise CallFailedError(INCOMPLETE)  # no server of Vault's writes a key twice
    return json.dumps(value, ensure_ascii=False)


def _is_inexact(value: object) -> bool:
    """Whether KV v2, which keeps numbers as floating point, may have changed one of these."""
    if isinstance(value, dict | list):
        return any(map(_is_inexact, value.values() if isinstance(value, dict) else value))
    if not isinstance(value, NumberText):
        return False
    digits = re.sub(r"[eE].*|[-.]", "", value).lstrip("0")
    return len(digits.rstrip("0")) > _EXACT_DIGITS


def _seconds(text: object) -> float | None:
    """Seconds since the epoch of an RFC 3339 time; None for anything else."""
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    try:
        whole = datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return None
    return whole + float(f"0.{found[2] or 0}")
