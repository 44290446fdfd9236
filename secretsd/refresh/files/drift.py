"""Whether published files still are the very files that were published. Opens no file.

What was published is another user's, 0600: the daemon may not read it, and need not. Inode, size and ctime
tell of every write, also of one that restores mtime.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from secretsd.model import PublishedFile, PublishRecord
from secretsd.refresh.files import tree
from secretsd.refresh.files.publish import BUNDLE_MODE, current_generation


@dataclass(frozen=True, slots=True)
class Difference:
    """What was done to one file, or to what leads to it."""

    path: str  # as in the bundle's outputs, or in words
    what: str  # the end of a sentence that the path begins

    def __str__(self) -> str:
        return f"{self.path} {self.what}"


def is_intact(runtime_dir: Path, record: PublishRecord) -> bool:
    """Whether every file still is the very file that was published. No file is opened."""
    return next(_differences(runtime_dir, record), None) is None


def differences(runtime_dir: Path, record: PublishRecord) -> tuple[Difference, ...]:
    """What somebody has altered since the publish, in the order in which it was found."""
    return tuple(_differences(runtime_dir, record))


def _differences(runtime_dir: Path, record: PublishRecord) -> Iterator[Difference]:
    try:
        with tree.opened_directory(runtime_dir) as root:
            if current_generation(root, record.bundle) != record.generation:
                yield Difference(f"the link {record.bundle}", "is gone or shows something else")
                return
    except OSError:
        yield Difference("the runtime directory", "cannot be read")
        return
    parent = runtime_dir / tree.GENERATIONS / record.bundle
    base = parent / str(record.generation)
    gid = record.files[0].gid if record.files else os.getegid()
    # Every one on the way down: whoever may write in one can put another in the place of what it holds.
    inner = {path for file in record.files for path in PurePosixPath(file.path).parents[:-1]}
    for directory in (parent, base, *(base / path for path in sorted(inner))):
        if found := _directory_difference(directory, gid):
            yield Difference(f"the directory {directory.relative_to(parent.parent)}", found)
            return
    for file in record.files:
        if found := _file_difference(base / file.path, file):
            yield Difference(file.path, found)


def _directory_difference(path: Path, gid: int) -> str:
    try:
        status = os.lstat(path)
    except OSError:
        return "is gone"
    if not stat.S_ISDIR(status.st_mode):
        return "was replaced"
    if stat.S_IMODE(status.st_mode) & 0o777 != BUNDLE_MODE:
        return f"has mode {stat.S_IMODE(status.st_mode):04o}, was made with {BUNDLE_MODE:04o}"
    if (status.st_uid, status.st_gid) != (os.geteuid(), gid):
        return f"belongs to {status.st_uid}:{status.st_gid}, was made for {os.geteuid()}:{gid}"
    return ""


def _file_difference(path: Path, file: PublishedFile) -> str:
    try:
        status = os.lstat(path)
    except OSError:
        return "is gone"
    if status.st_ino != file.inode or stat.S_IFMT(status.st_mode) != stat.S_IFMT(file.mode):
        return "was replaced"
    if (status.st_uid, status.st_gid) != (file.uid, file.gid):
        return f"belongs to {status.st_uid}:{status.st_gid}, was published for {file.uid}:{file.gid}"
    if status.st_mode != file.mode:
        return (
            f"has mode {stat.S_IMODE(status.st_mode):04o}, was published with {stat.S_IMODE(file.mode):04o}"
        )
    if status.st_size != file.size:
        return f"has {status.st_size} bytes, was published with {file.size}"
    # The kernel sets ctime and nobody can set it back: an edit that restores mtime shows here.
    return "" if status.st_ctime_ns == file.ctime_ns else "was written to, or its metadata changed"
