"""The test vectors of docs/native-protocol.md, and its table of errors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "native-protocol.md"


class Vector(NamedTuple):
    told: str
    request: bytes
    answer: bytes


def vectors() -> list[Vector]:
    pattern = re.compile(r"^(.+):\n\n```\n> ([0-9a-f]+)\n< ([0-9a-f]+)\n```$", re.MULTILINE)
    text = _PAGE.read_text(encoding="utf-8")
    return [Vector(told, bytes.fromhex(q), bytes.fromhex(a)) for told, q, a in pattern.findall(text)]


def errors() -> list[tuple[int, str, bool]]:
    """Number, word, whether the same may succeed later."""
    rows = re.findall(
        r"^\| (\d+) \| `([a-z0-9-]+)` \| (yes|) *\|$", _PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    return [(int(number), word, again == "yes") for number, word, again in rows]
