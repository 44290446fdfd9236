"""Removes full files of a daemon's own trail that are old enough and lie elsewhere: the only place that does.

The shipper may not write where the trails are, so that the daemons remove, and go by what the shipper says
of each sink. A lie of its can cost no file that is younger than `keep`. docs/audit.md says what stays.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from secretsd.audit import record, retention, shipped
from secretsd.audit.chain import LONGEST_OPENING_BYTES, file_id, last_head, opening_of
from secretsd.audit.retention import Plan, Reach, Rule, TrailFile
from secretsd.audit.shipped import Stand
from secretsd.config.audit import Audit
from secretsd.errors import LocalIOError

log = logging.getLogger(__name__)

FIRST_S, EVERY_S = 30.0, 600.0
_FEW_FILES = 4
_TAIL_BYTES = 65536
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Pruner:
    """For DIRECTORY/DAEMON.jsonl and the full files beside it. Runs on the daemon's loop.

    `write` adds a record to that very log, `durable` returns when it is on the disk or raises OSError or
    LocalIOError.
    """

    def __init__(
        self,
        directory: Path,
        daemon: str,
        write: Callable[[str], None],
        durable: Callable[[], Awaitable[None]],
    ) -> None:
        self.problem = ""  # why a file stays that is old enough, and the fix
        self._directory = directory
        self._daemon = daemon
        self._write = write
        self._durable = durable

    async def run(self, audit: Callable[[], Audit]) -> None:
        """Looks for ever; `audit` is what the configuration says by then."""
        await asyncio.sleep(FIRST_S)
        while True:
            await self.look(audit(), time.time())
            await asyncio.sleep(EVERY_S)

    async def look(self, audit: Audit, now_s: float) -> None:
        """Removes what may go; `now_s` is in seconds since the epoch. Never raises."""
        try:
            found = await asyncio.to_thread(planned, self._directory, self._daemon, audit, now_s)
            for file in found.remove:
                await self._remove(file)
            problem = found.obstacle or _crowded(self._directory, audit.max_file_bytes)
        except (OSError, LocalIOError) as error:
            problem = f"full files of the audit trail in {self._directory} cannot be removed: {error}"
        if problem and problem != self.problem:
            log.warning("files of the audit trail need somebody", extra={"reason": problem})
        self.problem = problem

    async def _remove(self, file: TrailFile) -> None:
        """Says so first: a file that is gone without a word would look like somebody else's deed."""
        details = {"file": file.name, "first": file.first, "last": file.last.seq}
        self._write(record.announced("prune", {**details, "head": file.last.hash.decode()}))
        await self._durable()
        try:
            await asyncio.to_thread(_unlink, self._directory, file)
        except OSError:
            said = record.event("prune", result="failed", reason="io", details=details)
            self._write(said)
            raise
        self._write(record.event("prune", details=details))
        log.info("a full file of the audit trail was removed", extra=details)


def planned(directory: Path, daemon: str, audit: Audit, now_s: float) -> Plan:
    """What may go, and what stays against the rule. Reads the ends of each file. Raises: OSError."""
    if audit.keep_s is None or not (audit.sinks or audit.remove_unshipped):
        return Plan()
    # Read before the files: what a sink has is in one of them by then.
    stands = shipped.stands(audit.shipper_state_dir, daemon) if audit.sinks else {}
    files, unreadable = _files(directory, daemon)
    if unreadable:
        return Plan(obstacle=f"{unreadable} does not read as a file of the chain: keep it as evidence")
    reaches = [_reach(directory, files, name, stands.get(name)) for name in audit.sinks]
    return retention.plan(files, reaches, Rule(audit.keep_s, audit.keep_bytes or 0), now_s)


def _reach(directory: Path, files: list[TrailFile], sink: str, stand: Stand | None) -> Reach:
    for index, file in enumerate(files):
        if stand is not None and file.id == stand.file and _ends_there(directory / file.name, stand):
            return Reach(sink, index, stand.head.seq, stand.since)
    return Reach(sink)


def _ends_there(path: Path, stand: Stand) -> bool:
    """Whether the record that the sink is said to have ends in this file where it is said to."""
    end = b'"' + stand.head.hash + b'"}\n'
    if not stand.head.hash or stand.offset < len(end):
        return False
    with open(os.open(path, _FLAGS), "rb") as file:
        return os.pread(file.fileno(), len(end), stand.offset - len(end)) == end


def _files(directory: Path, daemon: str) -> tuple[list[TrailFile], str]:
    """The chain's files, oldest first, the one that is written last; and the name of one that is none."""
    # The one that is written first: those that were full before it are all there by now.
    written = _file(directory / f"{daemon}.jsonl")
    if written is None:
        return [], f"{daemon}.jsonl"
    names = re.compile(rf"{re.escape(daemon)}-\d{{20}}(-\d+)?\.jsonl")
    found: list[TrailFile] = []
    for name in sorted(filter(names.fullmatch, os.listdir(directory))):
        file = _file(directory / name)
        if file is None:
            return [], name
        if file.identity != written.identity:  # it has two names for a moment
            found.append(file)
    return [*found, written], ""


def _file(path: Path) -> TrailFile | None:
    with open(os.open(path, _FLAGS), "rb") as file:
        fd, there = file.fileno(), os.fstat(file.fileno())
        opened = opening_of(os.pread(fd, LONGEST_OPENING_BYTES, 0))
        start = max(0, there.st_size - _TAIL_BYTES)
        tail = os.pread(fd, _TAIL_BYTES, start)
    last = last_head(tail)
    if opened is None or last is None:
        return None
    opening, follows = opened
    end = tail[: last[1]].rstrip(b"\n").rpartition(b"\n")[2]
    return TrailFile(
        path.name,
        file_id(opening),
        follows,
        last[0],
        record.made_at_s(end) or there.st_mtime,
        there.st_size,
        (there.st_dev, there.st_ino),
    )


def _crowded(directory: Path, max_file_bytes: int) -> str:
    """A warning where few more files find room: nothing is removed earlier for that."""
    try:
        disk = os.statvfs(directory)
    except OSError:
        return ""  # the log itself says that it cannot be written
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes >= _FEW_FILES * max_file_bytes:
        return ""
    return (
        f"only {free_bytes >> 20} MiB are free for the audit trail: make room (df -h {directory});"
        " files of it are not removed earlier for that"
    )


def _unlink(directory: Path, file: TrailFile) -> None:
    """Raises: OSError."""
    path = directory / file.name
    there = os.stat(path, follow_symlinks=False)
    if (there.st_dev, there.st_ino) != file.identity:
        raise FileExistsError(f"{path} is another file by now")
    path.unlink()
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
