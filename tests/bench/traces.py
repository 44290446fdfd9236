"""Every form in which a secret may lie in a process's memory, and the search for them."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_WINDOW = 16  # characters: half a copy is a copy, too
# What JSON escapes, each in its own way; with it an escaped copy differs from a plain one.
_ESCAPED_BY_JSON = '"\\é'
_CHUNK_BYTES = 16 * 1024 * 1024
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)")
# The kernel's own pages: not memory of the process, and not readable from outside.
_KERNEL_PAGES = ("[vvar", "[vsyscall]")


@dataclass(frozen=True, slots=True)
class Marker:
    """The part that all versions of a secret share: whoever finds it has found one of them."""

    head: str
    tail: str

    @classmethod
    def random(cls) -> Marker:
        """64 characters that no memory holds by chance."""
        return cls(*("fake" + secrets.token_hex(_WINDOW)[4:] for _ in range(2)))

    def value(self, version: int) -> str:
        """A secret's value: 70 characters, another one for each version."""
        return f"{self.head}{_ESCAPED_BY_JSON}{version:03}{self.tail}"

    def forms(self, version: int) -> Mapping[str, tuple[bytes, ...]]:
        """The value as it may be encoded, whole: what is planted, by the form's name."""
        value = self.value(version)
        plain = value.encode()
        shifted = [b"x" * shift + plain for shift in range(3)]
        escaped = json.dumps(value)
        return {
            "raw": (plain,),
            "UTF-16": (value.encode("utf-16-le"), value.encode("utf-16-be")),
            "UTF-32": (value.encode("utf-32-le"),),
            "base64": tuple(base64.b64encode(text) for text in shifted),
            "hex": (plain.hex().encode(), plain.hex().upper().encode()),
            "JSON": tuple(
                text.encode()
                for text in (escaped, json.dumps(value, ensure_ascii=False), json.dumps(escaped))
            ),
        }

    def needles(self) -> Mapping[str, tuple[bytes, ...]]:
        """What is searched for, by the form's name: enough to find a part of a copy."""
        text = self.head + self.tail
        windows = [text[at : at + _WINDOW] for at in range(0, len(text), _WINDOW)]
        plain = [window.encode() for window in windows]
        return {
            "raw": tuple(plain),
            "UTF-16": tuple(w.encode(kind) for w in windows for kind in ("utf-16-le", "utf-16-be")),
            "UTF-32": tuple(window.encode("utf-32-le") for window in windows),
            "base64": tuple(base64_inside(window, shift) for window in plain for shift in range(3)),
            "hex": tuple(h.encode() for w in plain for h in (w.hex(), w.hex().upper())),
            "JSON": tuple(self._escaped()),
        }

    def _escaped(self) -> Iterator[bytes]:
        around = f"{self.head[-8:]}{_ESCAPED_BY_JSON}"
        once = json.dumps(around)[1:-1]
        for text in (once, json.dumps(around, ensure_ascii=False)[1:-1], json.dumps(once)[1:-1]):
            yield text.encode()


def base64_inside(text: bytes, shift: int) -> bytes:
    """What base64 makes of `text`, whatever stands around it, `shift` bytes into a group of three."""
    encoded = base64.b64encode(b"\0" * shift + text)
    whole_groups = (shift + len(text)) // 3 * 4
    return encoded[(0, 2, 3)[shift] : whole_groups]


@dataclass(frozen=True, slots=True)
class Search:
    """What a search through one process came to."""

    found: Mapping[bytes, int]  # needle -> how often
    searched_bytes: int
    unreadable_bytes: int


def search(pid: int, needles: list[bytes]) -> Search:
    """Searches all memory of a process, as root and while it runs. Raises OSError when it has ended."""
    found = dict.fromkeys(needles, 0)
    searched = unreadable = 0
    overlap = max(map(len, needles)) - 1
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        for start, end in list(_mappings(pid)):
            data = b""
            for at in range(start, end, _CHUNK_BYTES):
                size = min(_CHUNK_BYTES, end - at)
                chunk = _read(memory, at, size)
                searched += len(chunk)
                unreadable += size - len(chunk)
                data = data[-overlap:] + chunk
                for needle in needles:
                    found[needle] += data.count(needle)
    finally:
        os.close(memory)
    return Search(found, searched, unreadable)


def _mappings(pid: int) -> Iterator[tuple[int, int]]:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        match = _MAPPING.fullmatch(line)
        assert match is not None, line
        # Private memory without any right is what an allocator reserves, not what it holds.
        if not match[4].startswith(_KERNEL_PAGES) and match[3][:3] != "---":
            yield int(match[1], 16), int(match[2], 16)


def _read(memory: int, at: int, size: int) -> bytes:
    try:
        return os.pread(memory, size, at)
    except OSError:
        return b""  # given back since the list was read; the caller counts it
