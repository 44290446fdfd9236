"""What a sink has of a chain, on the disk: written whole, synced, and never ahead of what was taken."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secretsd import durable
from secretsd.audit.chain import Head
from secretsd.shipping.pieces import Position

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Cursor:
    """`sending` are the bytes of a piece that may have arrived already: after a crash just those go again.

    `receipt` is what the sink said of the piece before, for the next one to refer to. Of all records behind
    number `since` up to the position the sink has each, in the chain's order and without a flaw.
    """

    position: Position | None = None
    sending: int = 0
    receipt: str = ""
    since: int = 0


class CursorFile:
    """DIRECTORY/SINK-DAEMON.json. Written by one process."""

    def __init__(self, directory: Path, sink: str, daemon: str) -> None:
        self._path = directory / f"{sink}-{daemon}.json"

    def load(self) -> Cursor:
        """The cursor; the beginning of everything where the file is missing or is none. Raises: OSError."""
        try:
            return _parsed(json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return Cursor()
        except (ValueError, KeyError, TypeError, RecursionError):
            # From the oldest file on: twice is better than not at all. What it was stays for who asks why.
            os.replace(self._path, self._path.with_suffix(".unreadable"))
            return Cursor()

    def save(self, cursor: Cursor) -> None:
        """Returns when it would survive a power failure. Raises: OSError."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.replace(self._path, _text(cursor).encode())


def _text(cursor: Cursor) -> str:
    said: dict[str, object] = {
        "schema": SCHEMA,
        "sending": cursor.sending,
        "receipt": cursor.receipt,
        "since": cursor.since,
    }
    if cursor.position is not None:
        head, file, offset = cursor.position.head, cursor.position.file, cursor.position.offset
        said["position"] = {"seq": head.seq, "hash": head.hash.decode(), "file": file, "offset": offset}
    return json.dumps(said) + "\n"


def _parsed(said: Any) -> Cursor:
    position = None
    if "position" in said:
        place = said["position"]
        head = Head(_count(place["seq"]), str(place["hash"]).encode())
        position = Position(head, str(place["file"]), _count(place["offset"]))
    receipt = str(said["receipt"])
    if receipt and not isinstance(json.loads(receipt), dict):
        raise ValueError
    return Cursor(position, _count(said["sending"]), receipt, _count(said["since"]))


def _count(value: object) -> int:
    # What is too large for the kernel would end the courier, and its successors.
    if not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise ValueError
    return value
