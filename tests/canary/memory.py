"""The search for canaries in processes: memory, arguments, environment. Reads /proc as root."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.canary import allowed
from tests.canary.scan import Trace, traces_in
from tests.canary.spellings import Needles
from tests.canary.tally import Tally

_CHUNK_BYTES = 16 * 1024 * 1024
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)")
# The kernel's own pages: not memory of the process, and not readable from outside.
_KERNEL_PAGES = ("[vvar", "[vsyscall]")


def pieces(pid: int, *, only_written: bool, overlap: int = 0) -> Iterator[tuple[bytes, int]]:
    """All memory of a process while it runs: what was read, and how many bytes of it could not be.

    A piece begins with the last `overlap` bytes of the one before it in its mapping. `only_written` leaves
    out what the process cannot write: code, and files as they lie on the disk.
    Raises: OSError where it has ended.
    """
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        for start, end in list(_mappings(pid, only_written=only_written)):
            before = b""
            for at in range(start, end, _CHUNK_BYTES):
                size = min(_CHUNK_BYTES, end - at)
                chunk = _read(memory, at, size)
                data = before + chunk
                before = data[-overlap:] if overlap else b""
                yield data, size - len(chunk)
    finally:
        os.close(memory)


@dataclass(frozen=True, slots=True)
class Process:
    """One process as anybody with the right to could read it."""

    pid: int
    role: str
    may_have: Needles = field(default_factory=dict)  # what is no finding in its memory; elsewhere it is

    def traces(self, wanted: Needles, tally: Tally) -> Iterator[Trace]:
        """Arguments, environment, and all memory that it can write; nothing where it has ended."""
        tally.processes += 1
        with contextlib.suppress(OSError):
            for part in ("cmdline", "environ"):
                content = Path(f"/proc/{self.pid}/{part}").read_bytes()
                yield from traces_in(content, f"{part} of {self.role}", wanted)
            wanted_there = {needle: form for needle, form in wanted.items() if needle not in self.may_have}
            if self.role not in allowed.MEMORY and wanted_there:
                yield from self._memory(wanted_there, tally)

    def _memory(self, wanted: Needles, tally: Tally) -> Iterator[Trace]:
        # Without zeros, which are half of what a process has: UTF-16 and UTF-32 then read as the text itself.
        dense = {_without_zeros(needle): form for needle, form in reversed(wanted.items())}
        for data, _ in pieces(self.pid, only_written=True, overlap=max(map(len, wanted)) - 1):
            tally.memory_bytes += len(data)
            yield from traces_in(_without_zeros(data), f"memory of {self.role}", dense)


def _without_zeros(data: bytes) -> bytes:
    return data.translate(None, b"\0")


def _mappings(pid: int, *, only_written: bool) -> Iterator[tuple[int, int]]:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        match = _MAPPING.fullmatch(line)
        assert match is not None, line
        # Private memory without any right is what an allocator reserves, not what it holds.
        if match[4].startswith(_KERNEL_PAGES) or match[3][:3] == "---":
            continue
        if not only_written or match[3][1] == "w":
            yield int(match[1], 16), int(match[2], 16)


def _read(memory: int, at: int, size: int) -> bytes:
    try:
        return os.pread(memory, size, at)
    except OSError:
        return b""  # given back since the list was read; the caller counts it
