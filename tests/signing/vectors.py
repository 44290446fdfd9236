"""Reads the published vectors of cryptography-vectors: blocks of `NAME = VALUE` under [SECTION]."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cryptography_vectors

ROOT = Path(cryptography_vectors.__file__).parent

Block = dict[str, str]


def read(path: str) -> Iterator[tuple[str, Block]]:
    """Each block of a file with the section that it stands in; lines without "=" end a block."""
    section, shared, block = "", {}, Block()
    for raw in [*(ROOT / path).read_text().splitlines(), ""]:
        line = raw.strip()
        if line.startswith("#"):
            continue
        if line.startswith("["):
            if "=" not in line or "," in line:
                section, shared = line.strip("[]"), {}
            else:
                name, value = (part.strip() for part in line.strip("[]").split("=", 1))
                section = f"{name} = {value}"
                shared = {**shared, name: value} if not block else {name: value}
        elif "=" in line:
            name, value = (part.strip() for part in line.split("=", 1))
            block[name] = value
        elif block:
            yield section, {**shared, **block}
            block = Block()


def octets(block: Block, name: str) -> bytes:
    return bytes.fromhex(block[name])


def number(block: Block, name: str) -> int:
    return int(block[name], 16)
