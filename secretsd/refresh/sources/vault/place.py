"""Reads a token or a secret id from where the configuration says it is, anew each time."""

from __future__ import annotations

from dataclasses import replace

from secretsd.credentials import UnreadableError, read_credential
from secretsd.refresh.sources.faults import NO_CREDENTIALS, CallFailedError

_LONGEST_BYTES = 16 * 1024


def read_place(place: str) -> str:
    """What stands at `place`, "credential:NAME" or "file:PATH"; a line end at its end does not belong to it.

    Raises:
        CallFailedError: "no-credentials", whose detail says why.
    """
    try:
        content = read_credential(place, longest_bytes=_LONGEST_BYTES, may_be_shared=True)
    except UnreadableError as error:
        problem = f"it {error}"
    else:
        text = content.strip(b"\r\n").decode("ascii", "replace")
        # It becomes a header of HTTP, or a string of JSON: nothing of either is not printable.
        if text and text.isascii() and text.isprintable():
            return text
        problem = "it is empty or not text"
    raise CallFailedError(replace(NO_CREDENTIALS, detail=problem))
