"""The audit file on the disk: found or made, its end read, and brought back where it was taken away.

Nothing here removes or shortens what was written. What stands in the way is moved aside; a file that is full
keeps its bytes under another name, for whoever takes it away.
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from secretsd import durable
from secretsd.audit import chain
from secretsd.audit.chain import Head, Span
from secretsd.errors import LocalIOError

_FILE_MODE, _DIRECTORY_MODE = 0o640, 0o750
_TAIL_BYTES = 65536
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_COPY_BYTES = 1 << 20
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Opened:
    """How the file was found: the end of its chain, and what a record has to say of it."""

    head: Head
    aside: str | None = None  # the name that a file without any record was moved to
    torn: Span | None = None


class AuditFile:
    """DIRECTORY/DAEMON.jsonl, held by one process at a time. `boot` and `host` go into its opening.

    A full one becomes DAEMON-SEQ.jsonl, SEQ being the number of its first record in 20 digits.
    """

    def __init__(self, directory: Path, daemon: str, group: str | None, *, max_bytes: int) -> None:
        self.path = directory / f"{daemon}.jsonl"
        self.host = os.uname().nodename
        self.boot = _boot_id()
        self.fd = -1
        self.max_bytes = max_bytes  # beyond it another file is to follow
        self._first = 0  # the number of the file's first record
        self._daemon = daemon
        self._gid = _gid(group)
        self._identity = (0, 0)

    def open(self) -> Opened:
        """Opens the file, or makes it. Raises: OSError, LocalIOError, and then it may be tried again."""
        try:
            return self._open()
        except BaseException:
            self.close()  # or our own lock on it would be in the way of the next try
            raise

    def _open(self) -> Opened:
        try:
            self._take(os.open(self.path, _FLAGS))
        except FileNotFoundError:
            # Here alone: a state directory that is taken away later is for whoever took it to bring back.
            self.path.parent.parent.mkdir(parents=True, exist_ok=True)
            return Opened(*self._begin(None, None))
        size = os.fstat(self.fd).st_size
        found = self._last_head(size)
        if found is None:  # not even a whole opening: nothing to go on with
            old = self.fd
            opened = Opened(*self._begin(None, None))
            os.close(old)
            return opened
        self._first = self._follows() + 1
        head, end = found
        if end == size:
            return Opened(head)
        if os.pread(self.fd, 1, size - 1) != b"\n":
            os.write(self.fd, b"\n")
            whole = self._last_head(size + 1)
            if whole is not None and whole[1] == size + 1:
                return Opened(whole[0])  # nothing but its newline was missing, and so nothing is torn
        return Opened(head, torn=Span(end, size - end))

    def is_elsewhere(self) -> bool:
        """Whether the path no longer leads to the file that is written."""
        try:
            there = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return True
        return (there.st_dev, there.st_ino) != self._identity

    def come_back(self, settled: int, head: Head) -> str:
        """Puts a file at the path again and goes on there. Returns what had happened, in one word.

        An unlinked file is put back whole: while it is open its bytes are there. One that lives on under
        another name keeps them; the new file goes on behind `settled` bytes, where the head was `head`.
        Raises: OSError, and then the old file is still the one that is written.
        """
        old = self.fd
        was_unlinked = os.fstat(old).st_nlink == 0
        first = self._first
        self._begin(None if was_unlinked else head, (old, 0 if was_unlinked else settled))
        if was_unlinked:
            self._first = first
        os.close(old)
        return "unlinked" if was_unlinked else "replaced"

    def rotate(self, head: Head) -> None:
        """Goes on behind `head`, the last record of the file, in a new one; all of the old one is on disk.

        Whatever moment it is cut at, the path leads to a file that ends with `head`: to the old one, which
        then has two names, or to the new one. Raises: OSError, and then the old one is still written.
        """
        old = self.fd
        self._begin(head, None, keep=self._rotated_name())
        os.close(old)

    def close(self) -> None:
        """Lets another process have the file."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _make_directory(self) -> None:
        directory = self.path.parent
        with contextlib.suppress(FileExistsError):
            directory.mkdir(_DIRECTORY_MODE)
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fchmod(fd, _DIRECTORY_MODE)  # whatever the umask took away
                self._give(fd)
            finally:
                os.close(fd)
            durable.sync_directory(directory.parent)

    def _begin(
        self, head: Head | None, source: tuple[int, int] | None, *, keep: Path | None = None
    ) -> tuple[Head, str | None]:
        """A new file at the path, whole before it is seen there: an opening, then the source's bytes.

        What stood at the path before is kept as `keep`, or under a name that says it is none of the chain's.
        Returns the head that the opening names, and that name.
        """
        self._make_directory()
        draft = self.path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        fd = os.open(draft, _FLAGS | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        try:
            os.fchmod(fd, _FILE_MODE)
            self._give(fd)
            if source is None or source[1]:
                line, head = chain.opening(self._daemon, self.host, self.boot, stamp(time.time_ns()), head)
                _write(fd, line)
            if source is not None:
                _copy(*source, fd)
            os.fdatasync(fd)
            aside = self._keep_aside() if keep is None else self._keep(keep)
            os.rename(draft, self.path)
            durable.sync_directory(self.path.parent)
        except BaseException:
            os.close(fd)
            draft.unlink(missing_ok=True)
            raise
        self._take(fd)
        head = head or Head(0, b"")
        self._first = head.seq + 1
        return head, aside

    def _take(self, fd: int) -> None:
        there = os.fstat(fd)
        try:
            if not stat.S_ISREG(there.st_mode):
                raise LocalIOError(f"{self.path} is not a regular file", advice="move it away")
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise LocalIOError(
                f"{self.path} is written by another process",
                advice="stop the other daemon, or give this one its own state_dir",
            ) from None
        except LocalIOError:
            os.close(fd)
            raise
        self.fd = fd
        self._identity = (there.st_dev, there.st_ino)

    def _last_head(self, size: int) -> tuple[Head, int] | None:
        """The last readable record, and where its line ends. Reads back as far as it takes."""
        span = _TAIL_BYTES
        while True:
            start = max(0, size - span)
            found = chain.last_head(os.pread(self.fd, size - start, start))
            if found or not start:
                return (found[0], found[1] + start) if found else None
            span *= 16

    def _follows(self) -> int:
        """The number of the record that the file's opening follows; 0 where there is no opening."""
        found = chain.opening_of(os.pread(self.fd, chain.LONGEST_OPENING_BYTES, 0))
        return found[1].seq if found else 0

    def _rotated_name(self) -> Path:
        name = self.path.with_name(f"{self.path.stem}-{self._first:020d}.jsonl")
        if name.exists() and not name.samefile(self.path):
            # Somebody has begun the chain anew, and what was before it is evidence.
            return name.with_name(f"{name.stem}-{time.time_ns()}.jsonl")
        return name

    def _keep(self, name: Path) -> str:
        """The file's second name is durable before the first leads to another."""
        with contextlib.suppress(FileExistsError):  # a crash has left it after this step
            os.link(self.path, name, follow_symlinks=False)
        durable.sync_directory(self.path.parent)
        return name.name

    def _keep_aside(self) -> str | None:
        """Gives what stands at the path another name, by a link: a crash never leaves the path empty."""
        if not os.path.lexists(self.path):
            return None
        aside = self.path.with_name(f"{self.path.name}.aside-{time.time_ns()}")
        try:
            os.link(self.path, aside, follow_symlinks=False)
        except OSError:  # a directory, or a file that only its owner may link
            os.rename(self.path, aside)
        return aside.name

    def _give(self, fd: int) -> None:
        # Only members of the group may: elsewhere it stays with the daemon's own group.
        if self._gid is not None:
            with contextlib.suppress(PermissionError):
                os.fchown(fd, -1, self._gid)


def stamp(time_ns: int) -> str:
    """The time as records have it: UTC, microseconds (RFC 3339)."""
    second, rest_ns = divmod(time_ns, 1_000_000_000)
    return f"{whole_second(second)}{rest_ns // 1000:06d}Z"


def whole_second(second: int) -> str:
    """A time up to its decimal point."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))


def write_some(fd: int, data: bytes) -> bytes:
    """Writes what the disk takes at once, and returns the rest. Raises: OSError."""
    return data[os.write(fd, data) :]


def _write(fd: int, data: bytes) -> None:
    while data:
        data = write_some(fd, data)


def _copy(source: int, offset: int, target: int) -> None:
    while block := os.pread(source, _COPY_BYTES, offset):
        _write(target, block)
        offset += len(block)


def _boot_id() -> str:
    """Raises: LocalIOError."""
    try:
        return Path(_BOOT_ID).read_text(encoding="ascii").strip()
    except OSError:
        raise LocalIOError(
            f"{_BOOT_ID} cannot be read, and the audit log names the boot",
            advice="leave ProcSubset= out of the unit",
        ) from None


def _gid(group: str | None) -> int | None:
    if group is None:
        return None
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None
