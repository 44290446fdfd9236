"""Reads what must not stand in a configuration from where the configuration says it is.

A place is "credential:NAME", which systemd has handed to this service, or "file:PATH".
"""

from __future__ import annotations

import os
import stat

from secretsd.errors import SecretsdError


class UnreadableError(SecretsdError):
    """Nothing usable is there. The text ends a sentence: "cannot be read: No such file or directory".

    `code` is "no-service" (a credential, and systemd has handed out none), "unreadable", "no-file",
    "open-mode" (others than its owner may read the file) or "too-long".
    """

    def __init__(self, code: str, ending: str) -> None:
        super().__init__(ending)
        self.code = code


def read_credential(place: str, *, longest_bytes: int) -> bytes:
    """The bytes at `place`, at most `longest_bytes`. Raises: UnreadableError."""
    kind, _, rest = place.partition(":")
    if kind == "credential":
        directory = os.environ.get("CREDENTIALS_DIRECTORY", "")
        if not os.path.isabs(directory):
            raise UnreadableError("no-service", "cannot be read: systemd has handed out no credentials")
        return _read(os.path.join(directory, rest), longest_bytes, only_owner=False)
    return _read(rest, longest_bytes, only_owner=True)


def _read(path: str, longest_bytes: int, *, only_owner: bool) -> bytes:
    try:
        # Non-blocking: a pipe that somebody has put there must not hold us up.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise UnreadableError("no-file", "is no file")
            if only_owner and mode & 0o077:
                raise UnreadableError("open-mode", "may be read by others than its owner")
            content = os.read(descriptor, longest_bytes + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnreadableError("unreadable", f"cannot be read: {os.strerror(error.errno or 0)}") from None
    if len(content) > longest_bytes:
        raise UnreadableError("too-long", f"is longer than {longest_bytes} bytes")
    return content
