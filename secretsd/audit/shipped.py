"""What the shipper says that each sink has, as the daemons read it: its status.json, docs/json.md.

It comes from another user, so that nothing is taken for granted: what cannot be read counts as not shipped.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secretsd.audit.chain import Head

STATUS_NAME = "status.json"
_MOST_BYTES = 1 << 20
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Stand:
    """The last record that a sink has, where it ends in which file, and behind which it has all."""

    head: Head
    file: str
    offset: int
    since: int


def stands(state_dir: Path, daemon: str) -> dict[str, Stand]:
    """By sink, of the chain of `daemon`. Never raises: a sink of which nothing can be read is left out."""
    try:
        said = json.loads(_read(state_dir / STATUS_NAME))
        found = [(sink["name"], chain) for sink in said["sinks"] for chain in sink["chains"]]
        return {str(name): _stand(chain) for name, chain in found if chain["daemon"] == daemon}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}


def _stand(chain: Any) -> Stand:
    head = Head(_number(chain["record"]), str(chain["hash"]).encode())
    return Stand(head, str(chain["file"]), _number(chain["offset"]), _number(chain["since"]))


def _number(value: object) -> int:
    # What is too large for the kernel would be an error there, and JSON of Python's knows infinity.
    if not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise ValueError
    return value


def _read(path: Path) -> bytes:
    with open(os.open(path, _FLAGS), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return b""
        return file.read(_MOST_BYTES)
