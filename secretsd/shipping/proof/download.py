"""Reads a copy of a trail's bucket from a directory, as `aws s3 sync` makes one: a file for each object."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from secretsd.errors import LocalIOError, UsageError
from secretsd.shipping.manifest import MANIFEST, read_manifest
from secretsd.shipping.proof.verification import Stored

_PARTS = 4  # HOST/DAEMON/batches/NAME, at the end of every key


class Download:
    """The objects in a directory, which may have been copied from the bucket, or from any place in it.

    It holds one version of each object: what was put over another cannot be told from what was altered.
    """

    def __init__(self, directory: Path) -> None:
        """Raises: UsageError where there is no manifest, LocalIOError."""
        self._files = {"/".join(path.absolute().parts[-_PARTS:]): path for path in _files(directory)}
        self.prefix = self._find_prefix(directory)

    def _find_prefix(self, directory: Path) -> str:
        """What stands before each key in the bucket: manifests name themselves whole."""
        for name in filter(lambda name: name.endswith(MANIFEST), self._files):
            if manifest := read_manifest(self._bytes(name)):
                return "/".join([*manifest.content.split("/")[:-_PARTS], ""])
        raise UsageError(
            f"there is no manifest of a trail in {directory}",
            advice="give s3://BUCKET/PREFIX, or where you have copied that to",
        )

    def versions(self, host: str | None = None) -> Iterator[Stored]:
        """One of each object. Raises: LocalIOError."""
        for name, path in self._files.items():
            if host in (None, name.partition("/")[0]):
                try:
                    there = path.stat()
                except OSError as error:
                    raise _unread(path, error) from None
                yield Stored(self.prefix + name, "", there.st_mtime, there.st_size)

    def read(self, stored: Stored) -> bytes:
        """The bytes of an object. Raises: LocalIOError."""
        return self._bytes(stored.key.removeprefix(self.prefix))

    def _bytes(self, name: str) -> bytes:
        try:
            return self._files[name].read_bytes()
        except OSError as error:
            raise _unread(self._files[name], error) from None


def is_download(place: Path) -> bool:
    """Whether there are manifests in this directory or below it."""
    return place.is_dir() and any(place.rglob(f"*{MANIFEST}"))


def _files(directory: Path) -> list[Path]:
    try:
        next(directory.iterdir(), None)  # rglob of what is no directory finds nothing, and says nothing
    except OSError as error:
        raise _unread(directory, error) from None
    return sorted(path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())


def _unread(path: Path, error: OSError) -> LocalIOError:
    return LocalIOError(
        f"{path} cannot be read: {error.strerror}", advice="choose a directory with a download"
    )
