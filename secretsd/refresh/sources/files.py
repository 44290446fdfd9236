"""The source `file`: files below one directory, and nothing else of this host."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from secretsd.config.source_rules import is_path_below
from secretsd.errors import FailureClass
from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh.sources.local import MAX_VALUE_BYTES, LocalSource, UnreadableError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a FIFO put here must not hold up a worker.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class FileSource(LocalSource):
    """Secrets by their relative paths. Opens nothing before `fetch`."""

    def __init__(self, name: str, *, directory: Path) -> None:
        self._name = name
        self._directory = directory

    def read(self, ref: SecretRef) -> FetchedSecret:
        try:
            root = os.path.realpath(self._directory, strict=True)
        except OSError as error:
            raise self._no_directory(error) from None
        try:
            descriptor = _open_below(root, self._parts(root, ref))
        except OSError as error:
            raise self._unreadable(ref, error) from None
        except _OpenToAllError:
            raise self._open_to_all(ref) from None
        try:
            return self._read(ref, descriptor)
        except OSError as error:
            raise self._unreadable(ref, error) from None
        finally:
            os.close(descriptor)

    def _parts(self, root: str, ref: SecretRef) -> list[str]:
        """The way down from `root`, without links. Raises: UnreadableError, OSError."""
        if not is_path_below(ref.id):
            raise self._outside(ref)
        target = os.path.realpath(os.path.join(root, ref.id), strict=True)
        if os.path.commonpath((root, target)) != root or target == root:
            raise self._outside(ref)
        return os.path.relpath(target, root).split("/")

    def _read(self, ref: SecretRef, descriptor: int) -> FetchedSecret:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise UnreadableError(
                "not-a-file",
                FailureClass.DATA,
                f"{ref} in source {self._name} is not a regular file",
                "name a file that holds the secret",
            )
        if before.st_mode & stat.S_IWOTH:
            raise self._open_to_all(ref)
        with open(descriptor, "rb", closefd=False) as stream:
            payload = stream.read(MAX_VALUE_BYTES + 1)
        if _version(os.fstat(descriptor)) != _version(before):
            raise UnreadableError(
                "unreachable",
                FailureClass.TRANSIENT,
                f"{ref} in source {self._name} was written to while it was read",
                "nothing to do: it is read again; a file that is renamed into place is never seen half",
            )
        return FetchedSecret(ref, _version(before), before.st_mtime, payload)

    def _open_to_all(self, ref: SecretRef) -> UnreadableError:
        return UnreadableError(
            "writable-by-all",
            FailureClass.DATA,
            f"every user of this host can write or replace {ref} in source {self._name}",
            f"chmod o-w {self._directory / ref.id} and the directories down to it, and look at its content",
        )

    def _outside(self, ref: SecretRef) -> UnreadableError:
        return UnreadableError(
            "bad-secret-id",
            FailureClass.DATA,
            f"{ref} leads out of the directory of source {self._name}",
            f"name a file below {self._directory}; a link in it must not lead out of it",
        )

    def _no_directory(self, error: OSError) -> UnreadableError:
        advice = f"create {self._directory} and make it readable for the daemon, or mount it"
        message = f"the directory of source {self._name} cannot be used: {error.strerror}"
        if isinstance(error, PermissionError):
            return UnreadableError("access-denied", FailureClass.IDENTITY, message, advice)
        # Not a refusal: a file system that is not mounted must not withdraw what bots run on.
        return UnreadableError("unreachable", FailureClass.TRANSIENT, message, advice)

    def _unreadable(self, ref: SecretRef, error: OSError) -> UnreadableError:
        where = f"{ref} in source {self._name}"
        match error:
            case FileNotFoundError() | NotADirectoryError():
                return UnreadableError(
                    "secret-missing",
                    FailureClass.REFUSAL,
                    f"there is no file {where}",
                    f"create {self._directory / ref.id}, or correct the id",
                )
            case PermissionError():
                return UnreadableError(
                    "access-denied",
                    FailureClass.IDENTITY,
                    f"the daemon (uid {os.geteuid()}) may not read {where}",
                    f"give it to the daemon's user or group: chown, chmod u+r {self._directory / ref.id}",
                )
        return UnreadableError(
            "unreachable",
            FailureClass.TRANSIENT,
            f"{where} could not be read: {error.strerror}",
            "see the kernel's log for its disk; it is tried again by itself",
        )


class _OpenToAllError(Exception):
    """Every user can put another file into a directory on the way down."""


def _open_below(root: str, parts: list[str]) -> int:
    """A descriptor of the file, no component of whose path is a link any more.

    Raises: OSError, _OpenToAllError.
    """
    *directories, name = parts
    at = os.open(root, _DIRECTORY)
    try:
        _refuse_strangers(at)
        for directory in directories:
            inner = os.open(directory, _DIRECTORY, dir_fd=at)
            os.close(at)
            at = inner
            _refuse_strangers(at)
        return os.open(name, _FILE, dir_fd=at)
    finally:
        os.close(at)


def _refuse_strangers(directory: int) -> None:
    mode = os.fstat(directory).st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise _OpenToAllError


def _version(status: os.stat_result) -> str:
    # Nothing of the content: a digest of a weak secret could be guessed, and its length helps to.
    return f"{status.st_mtime_ns:x}-{status.st_ino:x}"
