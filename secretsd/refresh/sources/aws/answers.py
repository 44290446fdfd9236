"""What the answers of AWS's services have in common, and how they are held to be whole. Pure.

botocore turns an answer that was cut short into an empty success and checks no types, so everything is
checked here before it counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from secretsd.refresh.sources.faults import INCOMPLETE, NOT_UTF8, TOO_LARGE, CallFailedError, Fault

MAX_VALUE_BYTES = 65_536  # Secrets Manager's limit; a parameter is smaller


Entry = Mapping[str, object]


def entries(found: object) -> tuple[Entry, ...]:
    """A list of objects, empty where there is none. Raises: CallFailedError "incomplete-answer"."""
    if found is None:
        return ()
    if not isinstance(found, Sequence) or not all(isinstance(entry, Mapping) for entry in found):
        raise CallFailedError(INCOMPLETE)
    return tuple(found)


def payload_of_text(text: str) -> bytes | Fault:
    """The bytes of a value, or what is wrong with it."""
    if len(text) > MAX_VALUE_BYTES:  # not encoded to find that out: it may be as large as memory
        return TOO_LARGE
    # JSON can name half of a surrogate pair. The error is not let out: it holds the text.
    try:
        payload = text.encode("utf-8")
    except UnicodeEncodeError:
        return NOT_UTF8
    return payload_of_bytes(payload)


def payload_of_bytes(payload: bytes) -> bytes | Fault:
    """The bytes themselves, or what is wrong with them."""
    return payload if len(payload) <= MAX_VALUE_BYTES else TOO_LARGE
