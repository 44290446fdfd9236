"""Where sealed copies lie: STATE_DIR/sealed/BUNDLE/GENERATION, 0600 in directories of 0700, on the disk.

Whoever kills a write at any system call leaves the old copy or the new one, whole.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

from secretsd.model import SealedHeader
from secretsd.refresh.files import tree
from secretsd.refresh.sealed.header import decode_header

_DIRECTORY = "sealed"
MODE = 0o700
_LONGEST_NUMBER = 18
_LONGEST_BYTES = 64 * 1024 * 1024  # more than any bundle has; what is longer is not ours
_LONGEST_HEADER_BYTES = 1024 * 1024  # of thousands of secrets


def path_of(state_dir: Path, bundle: str) -> Path:
    return state_dir / _DIRECTORY / bundle


def write(state_dir: Path, bundle: str, generation: int, content: bytes) -> None:
    """Puts the copy in its place, durably. Blocks for the disk; one at a time for a bundle.

    Raises: OSError.
    """
    with tree.opened_directory(state_dir) as state:
        _make_durable_directory(_DIRECTORY, state)
        with tree.opened_directory(_DIRECTORY, dir_fd=state) as every:
            _make_durable_directory(bundle, every)
            with tree.opened_directory(bundle, dir_fd=every) as copies:
                replace(str(generation), content, copies)


def _make_durable_directory(name: str, parent: int) -> None:
    is_new = name not in os.listdir(parent)
    tree.make_directory(name, MODE, dir_fd=parent)
    if is_new:
        os.fsync(parent)


def replace(name: str, content: bytes, copies: int) -> None:
    """Puts a file in its place, durably; `copies` is a descriptor of its directory. Raises: OSError."""
    for leftover in os.listdir(copies):
        if leftover.startswith(tree.TEMPORARY_PREFIX):
            os.unlink(leftover, dir_fd=copies)
    temporary = tree.temporary_name()
    try:
        tree.create_file(temporary, content, dir_fd=copies)
        _sync(temporary, copies)
        os.rename(temporary, name, src_dir_fd=copies, dst_dir_fd=copies)
        os.fsync(copies)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=copies)
        raise


def _sync(name: str, directory: int) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def read(state_dir: Path, bundle: str, generation: int, *, most_bytes: int = _LONGEST_BYTES) -> bytes:
    """A copy as it lies there, or its first bytes. Raises: OSError."""
    with (
        tree.opened_directory(path_of(state_dir, bundle)) as copies,
        open(os.open(str(generation), _READ, dir_fd=copies), "rb") as file,
    ):
        return file.read(most_bytes)


_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def bundles(state_dir: Path) -> list[str]:
    """What has a directory for copies, whatever it holds. Raises: OSError."""
    with contextlib.suppress(FileNotFoundError):
        return os.listdir(state_dir / _DIRECTORY)
    return []


def headers(state_dir: Path, bundle: str) -> dict[int, SealedHeader | None]:
    """What each copy of a bundle says of itself, by generation; None where that cannot be read.

    Raises: OSError where it cannot even be told what there is.
    """
    with contextlib.suppress(NotADirectoryError):
        return {number: _header(state_dir, bundle, number) for number in generations(state_dir, bundle)}
    return {}


def generations(state_dir: Path, bundle: str) -> set[int]:
    """Of which generations there is a copy. Raises: OSError."""
    names = os.listdir(path_of(state_dir, bundle))
    return {int(name) for name in names if _is_generation(name)}


def _is_generation(name: str) -> bool:
    """A longer number was never given to a generation, and would become the lowest of all later ones."""
    return name.isascii() and name.isdecimal() and len(name) <= _LONGEST_NUMBER


def _header(state_dir: Path, bundle: str, generation: int) -> SealedHeader | None:
    try:
        return decode_header(read(state_dir, bundle, generation, most_bytes=_LONGEST_HEADER_BYTES))[0]
    except (OSError, ValueError):
        return None


def keep_only(state_dir: Path, bundle: str, generations: Collection[int]) -> None:
    """Removes the bundle's other copies, and its directory where none is to stay. Raises: OSError."""
    with (
        contextlib.suppress(FileNotFoundError),
        tree.opened_directory(state_dir / _DIRECTORY) as every,
    ):
        if not generations:
            tree.remove_tree(bundle, dir_fd=every)
            return
        with tree.opened_directory(bundle, dir_fd=every) as copies:
            for name in os.listdir(copies):
                if _is_generation(name) and int(name) not in generations:
                    os.unlink(name, dir_fd=copies)
