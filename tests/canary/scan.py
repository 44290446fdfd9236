"""The search for canaries in bytes, files and directories. What is found is told by place and form alone."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.canary.spellings import Needles, needles
from tests.canary.tally import Tally

_GZIP = b"\x1f\x8b\x08"
_UNPACKED_BYTES = 64 * 1024 * 1024  # of one file, at most


@dataclass(frozen=True, slots=True)
class Trace:
    """A canary was found at `place`, written in `form`. It is not shown: this goes into a log itself."""

    place: str
    form: str

    def __str__(self) -> str:
        return f"{self.place} ({self.form})"


def forms_in(data: bytes, wanted: Needles | None = None) -> set[str]:
    """The forms in which `data` holds a canary; of gzip it is the content that counts."""
    found = {form for needle, form in (wanted or needles()).items() if needle in data}
    if data.startswith(_GZIP):
        found |= {f"gzip, {form}" for form in forms_in(_unpacked(data), wanted)}
    return found


def shows(text: str | bytes) -> bool:
    """Whether the mark stands in `text` in any form."""
    return bool(forms_in(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text))


def traces_in(data: str | bytes, place: str, wanted: Needles) -> Iterator[Trace]:
    """All forms in which `data`, which was found at `place`, holds a canary."""
    content = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    yield from (Trace(place, form) for form in sorted(forms_in(content, wanted)))


@dataclass(frozen=True, slots=True)
class Tree:
    """All files below `root`. `is_allowed` says of a path below it whether a secret may be there."""

    root: Path
    is_allowed: Callable[[str], bool] = lambda _: False

    def traces(self, wanted: Needles, tally: Tally, called: str = "") -> Iterator[Trace]:
        """Of what is there now; `called` is what the root is named in the report."""
        for directory, folders, names in os.walk(self.root):
            inside = "/" + os.path.relpath(directory, self.root) + "/"
            for name in names + [each for each in folders if os.path.islink(os.path.join(directory, each))]:
                path = os.path.normpath(inside + name)
                if self.is_allowed(path):
                    continue
                content = _content(os.path.join(directory, name))
                tally.files += 1
                # A name can give a secret away, too.
                yield from traces_in(os.fsencode(name), f"a name in {called or self.root}{inside}", wanted)
                yield from traces_in(content, f"{called or self.root}{path}", wanted)


def _content(path: str) -> bytes:
    """Of a link what it leads to, which is not followed; nothing where it is gone by now, or is a socket."""
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            return os.fsencode(os.readlink(path))
        return Path(path).read_bytes() if stat.S_ISREG(mode) else b""
    except OSError:
        return b""


def _unpacked(data: bytes) -> bytes:
    """All members one after the other, as far as they are whole."""
    pieces: list[bytes] = []
    while data.startswith(_GZIP) and sum(map(len, pieces)) < _UNPACKED_BYTES:
        unpacking = zlib.decompressobj(wbits=31)
        try:
            pieces.append(unpacking.decompress(data, _UNPACKED_BYTES))
        except zlib.error:
            break
        data = unpacking.unused_data
    return b"".join(pieces)
