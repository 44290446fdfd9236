"""A small disk of a trail's own, and what may happen to it. Needs root; for the slow one also strace."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.lab.tracing import traced

_SIZE = "4m"
_BLOCK = b"\0" * 4096


@contextlib.contextmanager
def small_disk(directory: Path) -> Iterator[None]:
    """A file system in memory at `directory`, which is made."""
    directory.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=0750", "trail", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


@contextlib.contextmanager
def full(directory: Path) -> Iterator[None]:
    """Inside of this there is no room on the disk at `directory`."""
    filler = directory / "filler"
    fd = os.open(filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        with contextlib.suppress(OSError):
            while True:
                os.write(fd, _BLOCK)
        _must_be_full(fd)
        yield
    finally:
        os.close(fd)
        filler.unlink()


@contextlib.contextmanager
def slow(pid: int, path: Path, delay_s: float) -> Iterator[None]:
    """Inside of this each write and each sync of the file at `path` takes `pid` so much longer."""
    delay = f"inject=write,fsync,fdatasync:delay_enter={int(delay_s * 1e6)}"
    with traced(pid, "-P", str(path), "-e", "trace=write,fsync,fdatasync", "-e", delay):
        yield


@contextlib.contextmanager
def syncs_counted(pid: int, path: Path, trace: Path) -> Iterator[list[int]]:
    """What it yields holds afterwards how often `pid` has synced the file at `path` inside of this."""
    found: list[int] = []
    with traced(pid, "-P", str(path), "-e", "trace=fsync,fdatasync", output=trace):
        yield found
    found.append(trace.read_text().count("sync("))


def _must_be_full(fd: int) -> None:
    found = 0
    try:
        os.write(fd, b"\0")
    except OSError as error:
        found = error.errno or 0
    assert found == errno.ENOSPC, "the disk is not full"
