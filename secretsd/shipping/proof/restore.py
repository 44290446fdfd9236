"""Puts the audit files of a trail back from what its bucket holds, byte by byte, into an empty directory."""

from __future__ import annotations

import hashlib
import os
from itertools import count
from pathlib import Path

from secretsd.errors import LocalIOError, UsageError
from secretsd.shipping.proof.verification import Part

_LONGEST_NAME_BYTES = 128
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class Restored:
    """DIRECTORY/HOST/DAEMON-SEQ.jsonl, as the host had them; further accounts of a chain below account-N."""

    def __init__(self, directory: Path) -> None:
        """Raises: UsageError where it holds something, LocalIOError."""
        self._directory = directory
        self._names: dict[tuple[str, str, int, str], Path] = {}
        self._numbers = count(1)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            is_empty = next(directory.iterdir(), None) is None
        except OSError as error:
            raise _failed(error) from None
        if not is_empty:
            raise UsageError(f"{directory} is not empty", advice="name a directory that does not exist")

    def keep(self, host: str, daemon: str, part: Part) -> None:
        """Writes a part at its place. Raises: LocalIOError."""
        try:
            self._write(self._path(host, daemon, part), part)
        except OSError as error:
            raise _failed(error) from None

    def _path(self, host: str, daemon: str, part: Part) -> Path:
        """The file's path; it is made with the first part of it."""
        known = (host, daemon, part.account, part.file)
        if known not in self._names:
            directory = self._directory / _safe(host)
            if part.account > 1:
                directory /= f"account-{part.account}"
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = directory / f"{_safe(daemon)}-{part.first:020d}.jsonl"
            if path.exists():  # of another chain, which began with the same number
                path = path.with_name(f"{path.stem}-{int(part.file, 16)}.jsonl")
            os.close(os.open(path, _FLAGS, 0o600))
            self._names[known] = path
        return self._names[known]

    def _write(self, path: Path, part: Part) -> None:
        # What is missing before it stays a hole, so that every byte has its place.
        with path.open("r+b") as file:
            if os.pread(file.fileno(), len(part.data), part.offset).strip(b"\0"):
                self._write_beside(path, part)
                return
            file.seek(part.offset)
            file.write(part.data)

    def _write_beside(self, path: Path, part: Part) -> None:
        """Of two that tell the same bytes one is forged: neither may replace the other."""
        number = next(self._numbers)
        beside = path.with_name(f"{path.name}.aside-{part.offset}-{number}")
        with open(os.open(beside, _FLAGS, 0o600), "wb") as file:
            file.write(part.data)


def _safe(name: str) -> str:
    """A name from the bucket as a file's name, which must not lead elsewhere; keys have no slash in it.

    No two are one file's, or whoever adds a host to the bucket could keep the others from being restored.
    """
    if name in ("", ".", "..") or not name.isprintable() or len(name.encode()) > _LONGEST_NAME_BYTES:
        return f"_{hashlib.sha256(name.encode(errors='replace')).hexdigest()}"
    return name


def _failed(error: OSError) -> LocalIOError:
    what = f"the trail cannot be restored: {error.strerror}"
    return LocalIOError(what, advice="choose a directory on a disk with room, which you may write to")
