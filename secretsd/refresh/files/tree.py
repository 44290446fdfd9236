"""Where things lie under the runtime directory.

    BUNDLE -> .generations/BUNDLE/N    the symlink that is swapped
    .generations/BUNDLE/N/FILE         published files, 0600, the owner's
    .copies/BUNDLE/N/FILE              the daemon's own copies, 0600, for repair
    .copies/BUNDLE/N/record.json       what was published
    .confirmed/BUNDLE                  when its source last confirmed it, for everybody
    .digest-key                        keys every digest; dies with the boot
    .lock                              held by the one daemon that works here

All of it is memory: a reboot loses it, as it must.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

GENERATIONS = ".generations"
COPIES = ".copies"
CONFIRMED = ".confirmed"
RECORD = "record.json"
DIGEST_KEY = ".digest-key"
LOCK = ".lock"
TEMPORARY_PREFIX = ".new-"

DIGEST_KEY_BYTES = 32

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def opened_directory(path: str | Path, *, dir_fd: int | None = None) -> Iterator[int]:
    """A descriptor of a directory that is no symlink, for the *at calls."""
    descriptor = os.open(path, _OPEN_DIRECTORY, dir_fd=dir_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def temporary_name() -> str:
    """A name that nobody could have planted a link under."""
    return TEMPORARY_PREFIX + secrets.token_hex(8)


def make_directory(name: str, mode: int, *, dir_fd: int) -> None:
    """A directory of exactly this mode, whatever the umask and whatever a killed call has left of it."""
    with suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=dir_fd)
    with opened_directory(name, dir_fd=dir_fd) as directory:
        if stat.S_IMODE(os.fstat(directory).st_mode) != mode:
            os.fchmod(directory, mode)


def create_file(name: str, content: bytes, *, dir_fd: int, uid: int = -1, gid: int = -1) -> os.stat_result:
    """A new file, 0600, with its final owner before its first byte; `uid` and `gid` -1 keep the daemon's.

    Raises: OSError; FileExistsError where the name is taken.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=dir_fd)
    try:
        # The mode comes from open: after the chown only CAP_FOWNER could change it.
        if (uid, gid) != (-1, -1):
            os.fchown(descriptor, uid, gid)
        _write_all(descriptor, content)
        # No fsync: this is memory, and a reboot must lose it.
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def read_file(name: str, *, dir_fd: int) -> bytes:
    """A small file of the daemon's own, whole."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def remove_tree(name: str, *, dir_fd: int) -> None:
    """Removes a file, a link or a whole directory; what is not there is no error.

    The files may be another user's: removing them takes only the right to write their directory.
    """
    try:
        os.unlink(name, dir_fd=dir_fd)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        pass  # unlink(2) of a directory: EISDIR on Linux
    with opened_directory(name, dir_fd=dir_fd) as directory:
        for entry in os.listdir(directory):
            remove_tree(entry, dir_fd=directory)
    os.rmdir(name, dir_fd=dir_fd)
