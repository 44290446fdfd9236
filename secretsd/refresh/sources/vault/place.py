"""Reads a token or a secret id from where the configuration says it is, anew each time."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

from secretsd.refresh.sources.faults import CallFailedError
from secretsd.refresh.sources.vault.errors import NO_CREDENTIALS

_LONGEST_BYTES = 16 * 1024


def read_place(place: str) -> str:
    """What stands at `place`, "credential:NAME" or "file:PATH"; a line end at its end does not belong to it.

    Raises:
        CallFailedError: "no-credentials", whose detail says why.
    """
    try:
        content = _read(_path(place))
    except OSError as error:
        problem = os.strerror(error.errno) if error.errno else "it cannot be read"
    else:
        text = content.strip(b"\r\n").decode("ascii", "replace")
        # It becomes a header of HTTP, or a string of JSON: nothing of either is longer or not printable.
        if text and len(content) <= _LONGEST_BYTES and text.isascii() and text.isprintable():
            return text
        problem = "it is empty, too long or not text"
    raise CallFailedError(replace(NO_CREDENTIALS, detail=problem))


def _path(place: str) -> str:
    kind, _, rest = place.partition(":")
    if kind == "file":
        return rest
    directory = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not os.path.isabs(directory):
        detail = "the service has no credentials"
        raise CallFailedError(replace(NO_CREDENTIALS, detail=detail))
    return os.path.join(directory, rest)


def _read(path: str) -> bytes:
    """At most one byte more than the longest; a pipe or a directory is no place. Raises: OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError
        return os.read(descriptor, _LONGEST_BYTES + 1)
    finally:
        os.close(descriptor)
