"""Which copies are the newest that this host has made, bound to a counter that no disk can set back.

One file, encrypted with the key of the copies, holds for each copy the value of the counter that it was
stamped with, and the counter's value when it was itself written last. Whoever restores an older disk restores
an older ledger, which then lies behind the counter.

The order is copy, ledger, counter: a crash in between leaves a ledger that is ahead, which is no harm.
"""

from __future__ import annotations

import contextlib
import fcntl
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import TypeAdapter

from secretsd.model import SecretVersion
from secretsd.refresh.files import tree
from secretsd.refresh.sealed import counter, store
from secretsd.refresh.sealed.box import SealKey

_MAGIC = b"secretsd sealed ledger 1\n"
_DIRECTORY, _FILE = "sealed-ledger", "ledger"
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Line:
    """One copy: the counter's value that it was stamped with, and what it is of."""

    stamp: int
    versions: tuple[SecretVersion, ...]


@dataclass(frozen=True, slots=True)
class _Page:
    """The whole file."""

    counter: int
    lines: Mapping[str, Mapping[int, Line]] = field(default_factory=dict)  # by bundle and generation


_page: TypeAdapter[_Page] = TypeAdapter(_Page)


class Ledger:
    """The ledger, held for one worker alone."""

    def __init__(self, place: str, state_dir: Path, key: SealKey, directory: int) -> None:
        self._place, self._state_dir, self._key, self._directory = place, state_dir, key, directory
        self._counter = counter.read(place)
        self._page = self._read()
        if self._page.counter > self._counter:
            self._count()  # what a crash, or a TPM that did not answer, has left undone

    def stamp_of(self, name: str, generation: int) -> int | None:
        """The stamp that the copy must have; None where this ledger cannot vouch for any."""
        line = self._page.lines.get(name, {}).get(generation)
        return line.stamp if line is not None else None

    def stamp_for(self, name: str, generation: int, versions: Sequence[SecretVersion]) -> int:
        """The stamp for a copy that is about to be written: a new one where it is of new versions."""
        line = self._page.lines.get(name, {}).get(generation)
        if line is not None and set(line.versions) == set(versions):
            return line.stamp
        return self._counter + 1

    def enter(self, name: str, generation: int, line: Line) -> None:
        """The copy is on the disk. Blocks for disk and TPM. Raises: OSError, FailureError."""
        if self.stamp_of(name, generation) == line.stamp:
            return
        copies = store.generations(self._state_dir, name)
        kept = {number: each for number, each in self._page.lines.get(name, {}).items() if number in copies}
        lines = {**self._page.lines, name: {**kept, generation: line}}
        self._page = _Page(line.stamp, lines)
        nonce, text = secrets.token_bytes(_NONCE_BYTES), _page.dump_json(self._page)
        content = _MAGIC + nonce + AESGCM(self._key.key).encrypt(nonce, text, _MAGIC)
        store.replace(_FILE, content, self._directory)
        self._count()

    def _count(self) -> None:
        counter.increment(self._place)
        self._counter += 1

    def _read(self) -> _Page:
        """The page, or an empty one where it is missing or altered, or of another state of the counter.

        Behind it is an older disk; more than one ahead is another TPM.
        """
        try:
            content = tree.read_file(_FILE, dir_fd=self._directory)
            nonce, sealed = content[len(_MAGIC) :][:_NONCE_BYTES], content[len(_MAGIC) + _NONCE_BYTES :]
            page = _page.validate_json(AESGCM(self._key.key).decrypt(nonce, sealed, _MAGIC))
        except (OSError, ValueError, InvalidTag):
            return _Page(self._counter)
        is_of_now = page.counter in (self._counter, self._counter + 1)
        return page if is_of_now else _Page(self._counter)


@contextlib.contextmanager
def opened(place: str, state_dir: Path, key: SealKey) -> Iterator[Ledger]:
    """The ledger, for one worker at a time. Blocks for others, disk and TPM.

    Raises: OSError, FailureError.
    """
    with tree.opened_directory(state_dir) as state:
        tree.make_directory(_DIRECTORY, store.MODE, dir_fd=state)
        with tree.opened_directory(_DIRECTORY, dir_fd=state) as directory:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield Ledger(place, state_dir, key, directory)
