"""Reads what must not stand in a configuration from where the configuration says it is.

A place is "credential:NAME", which systemd has handed to this service, or "file:PATH".
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from secretsd.errors import SecretsdError


class UnreadableError(SecretsdError):
    """Nothing usable is there. The text ends a sentence: "cannot be read: No such file or directory".

    `code` is "no-service" (a credential, and systemd has handed out none), "unreadable", "no-file",
    "open-mode" (others than its owner may read the file) or "too-long".
    """

    def __init__(self, code: str, ending: str) -> None:
        super().__init__(ending)
        self.code = code


def read_credential(place: str, *, longest_bytes: int, may_be_shared: bool = False) -> bytes:
    """The bytes at `place`, at most `longest_bytes`. Raises: UnreadableError.

    With `may_be_shared` others than its owner may read a "file:", too: a token that an agent writes for us.
    """
    with opened_credential(place, may_be_shared=may_be_shared) as descriptor:
        content = _first_bytes(descriptor, longest_bytes + 1)
    if len(content) > longest_bytes:
        raise UnreadableError("too-long", f"is longer than {longest_bytes} bytes")
    return content


@contextlib.contextmanager
def opened_credential(place: str, *, may_be_shared: bool = False) -> Iterator[int]:
    """A descriptor of the file at `place`, which is one, and whose owner alone may read it where it is a
    "file:" and is not `may_be_shared`. For who wants to know whether it is there, and not what it holds.

    Raises: UnreadableError.
    """
    kind, _, rest = place.partition(":")
    directory = os.environ.get("CREDENTIALS_DIRECTORY", "") if kind == "credential" else "/"
    if not os.path.isabs(directory):
        raise UnreadableError("no-service", "cannot be read: systemd has handed out no credentials")
    try:
        # Non-blocking: a pipe that somebody has put there must not hold us up.
        descriptor = os.open(os.path.join(directory, rest), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise UnreadableError("unreadable", f"cannot be read: {os.strerror(error.errno or 0)}") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise UnreadableError("no-file", "is no file")
        # systemd gives credentials to their service by an ACL, which shows in the group's bits.
        if kind != "credential" and mode & 0o077 and not may_be_shared:
            raise UnreadableError("open-mode", "may be read by others than its owner")
        yield descriptor
    finally:
        os.close(descriptor)


def _first_bytes(descriptor: int, count: int) -> bytes:
    try:
        return os.read(descriptor, count)
    except OSError as error:
        raise UnreadableError("unreadable", f"cannot be read: {os.strerror(error.errno or 0)}") from None
