"""The file of what was learned, in the daemon's state directory. Holds names and numbers, no value."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secretsd import durable
from secretsd.errors import LocalIOError
from secretsd.unusual import memory
from secretsd.unusual.uses import Uses

FILE = "unusual.json"


def read(directory: Path, *, wall: float) -> tuple[Uses, float] | None:
    """What was learned, and its age in seconds; None before the first start. `wall` is now, since the epoch.

    Raises: LocalIOError where there is something that cannot be read or understood.
    """
    path = directory / FILE
    try:
        return memory.decoded(path.read_bytes(), wall=wall)
    except FileNotFoundError:
        return None
    except OSError as error:
        why = os.strerror(error.errno or 0)
    except ValueError as error:
        why = str(error)
    raise LocalIOError(
        f"cannot read who uses what from {path}: {why}",
        advice="look at its owner and mode, and at who may have written it; it is written anew",
    )


def write(directory: Path, document: Mapping[str, Any]) -> None:
    """Replaces the file, and returns when it would survive a power failure. Blocks for the disk.

    Raises: LocalIOError.
    """
    try:
        durable.replace(directory / FILE, json.dumps(document, separators=(",", ":")).encode())
    except OSError as error:
        raise LocalIOError(
            f"cannot write who uses what to {directory / FILE}: {os.strerror(error.errno or 0)}",
            advice="free space there; until then a restart tells again what it has told since the last write",
        ) from None
