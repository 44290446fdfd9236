"""Opens the configuration's files and says who could have written them. Standard library only."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from secretsd.errors import ConfigError

INSTALLED_CONFIG = Path("/etc/secretsd/secretsd.toml")
DROP_IN_DIRECTORY = "conf.d"
MAX_FILE_BYTES = 4 * 1024 * 1024

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def raw_files(path: Path, trusted_owner: int | None, problems: list[str]) -> Iterator[tuple[str, bytes]]:
    """Name and content of `path` and of conf.d/*.toml beside it; what cannot be read goes to `problems`.

    With `trusted_owner`, ownership and mode are checked on the opened descriptors, so that nothing can be
    exchanged between the check and the reading.
    """
    with _noting(path, problems), _directory(path.parent, None, trusted_owner) as fd:
        yield from _one_file(path, fd, trusted_owner, problems)
        drop_ins = path.parent / DROP_IN_DIRECTORY
        if not _exists(DROP_IN_DIRECTORY, fd):
            return
        with _noting(drop_ins, problems, fd), _directory(drop_ins, fd, trusted_owner) as drop_in_fd:
            for name in sorted(os.listdir(drop_in_fd)):
                if name.endswith(".toml") and not name.startswith("."):
                    yield from _one_file(drop_ins / name, drop_in_fd, trusted_owner, problems)


def _one_file(
    file: Path, directory_fd: int, trusted_owner: int | None, problems: list[str]
) -> Iterator[tuple[str, bytes]]:
    with _noting(file, problems, directory_fd):
        yield shown(file), _read(file, directory_fd, trusted_owner)


@contextmanager
def _noting(file: Path, problems: list[str], directory_fd: int | None = None) -> Iterator[None]:
    """Turns what goes wrong with `file` into problems, so that the other files are still looked at."""
    try:
        yield
    except OSError as error:
        problems.append(_unreadable(file, error, is_link=_is_link(file.name, directory_fd)))
    except ConfigError as error:
        problems += error.problems


@contextmanager
def _directory(directory: Path, parent_fd: int | None, trusted_owner: int | None) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    if parent_fd is None:
        fd = os.open(directory, flags)
    else:
        fd = os.open(directory.name, flags | _no_links(trusted_owner), dir_fd=parent_fd)
    try:
        _require_trust(directory, os.fstat(fd), trusted_owner)
        yield fd
    finally:
        os.close(fd)


def _read(file: Path, directory_fd: int, trusted_owner: int | None) -> bytes:
    # O_NONBLOCK: a FIFO put here must not stop the daemon from starting.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | _no_links(trusted_owner)
    fd = os.open(file.name, flags, dir_fd=directory_fd)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            what = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise ConfigError([f"{shown(file)}: is {what}; configuration is read from files only"])
        _require_trust(file, status, trusted_owner)
        with open(fd, "rb", closefd=False) as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    finally:
        os.close(fd)
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError([f"{shown(file)}: is larger than {MAX_FILE_BYTES // 1024**2} MiB"])
    return content


def _no_links(trusted_owner: int | None) -> int:
    # Who can write where a link points to could exchange the file; checking that would need the whole path.
    return 0 if trusted_owner is None else os.O_NOFOLLOW


def _require_trust(file: Path, status: os.stat_result, trusted_owner: int | None) -> None:
    if trusted_owner is None:
        return
    if status.st_uid != trusted_owner:
        problem = f"belongs to uid {status.st_uid} and must belong to uid {trusted_owner}"
        raise ConfigError([f"{shown(file)}: {problem}: chown {trusted_owner} {shown(file)}"])
    if status.st_mode & _WRITABLE_BY_OTHERS:
        raise ConfigError([f"{shown(file)}: is writable by group or others: chmod go-w {shown(file)}"])


def _unreadable(file: Path, error: OSError, *, is_link: bool = False) -> str:
    match error:
        case FileNotFoundError() if is_link:
            what = "is a symbolic link to something that does not exist; correct or remove the link"
        case FileNotFoundError():
            what = "does not exist"
        case PermissionError():
            what = f"cannot be read by uid {os.geteuid()}: permission denied"
        case _ if is_link:
            what = "is a symbolic link that is not followed here; put what it points to in its place"
        case NotADirectoryError():
            what = "is not a directory, or is reached through something that is none"
        case _:
            what = f"cannot be read: {error.strerror}"
    return f"{shown(file)}: {what}"


def _is_link(name: str, directory_fd: int | None) -> bool:
    return directory_fd is not None and stat.S_ISLNK(_mode(name, directory_fd) or 0)


def _exists(name: str, directory_fd: int) -> bool:
    return _mode(name, directory_fd) is not None


def _mode(name: str, directory_fd: int) -> int | None:
    """The mode of the entry itself, links not followed; None where there is none."""
    try:
        return os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def shown(file: Path) -> str:
    """The path fit for a line of text, whatever bytes it is made of."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(file))
