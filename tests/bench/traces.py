"""Every form in which a secret may lie in a process's memory, and the search for them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.canary import memory
from tests.canary.spellings import needles, planted

_WINDOW = 16  # characters: half a copy is a copy, too
# What JSON escapes, each in its own way; with it an escaped copy differs from a plain one.
_ESCAPED_BY_JSON = '"\\é'


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
        return planted(self.value(version))

    def needles(self) -> Mapping[str, tuple[bytes, ...]]:
        """What is searched for, by the form's name: enough to find a part of a copy."""
        text = self.head + self.tail
        wanted: dict[str, tuple[bytes, ...]] = {}
        for at in range(0, len(text), _WINDOW):
            for needle, form in needles(text[at : at + _WINDOW]).items():
                wanted[form] = (*wanted.get(form, ()), needle)
        return {**wanted, "JSON": tuple(self._escaped())}

    def _escaped(self) -> Iterator[bytes]:
        around = f"{self.head[-8:]}{_ESCAPED_BY_JSON}"
        once = json.dumps(around)[1:-1]
        for text in (once, json.dumps(around, ensure_ascii=False)[1:-1], json.dumps(once)[1:-1]):
            yield text.encode()


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
    for data, lacking in memory.pieces(pid, only_written=False, overlap=max(map(len, needles)) - 1):
        searched += len(data)
        unreadable += lacking
        for needle in needles:
            found[needle] += data.count(needle)
    return Search(found, searched, unreadable)
