"""What alert commands were told, on the disk: a restart tells nothing twice, and the end of a trouble still.

Without it a daemon that dies again and again would tell the same trouble at each start, and whoever was told
of one before a restart would never hear that it is over. Holds names and sentences, no value.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from secretsd.errors import LocalIOError
from secretsd.observe.telling import URGENCY, Allowance, Memory, Report, Told, Trouble

_SCHEMA = 1
_FILE = "alerts.json"
# What a document that this module did not write can raise on its way to a memory.
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


def read(state_dir: Path, *, wall: float, monotonic: float) -> Memory:
    """What the last run left; nothing where there was none. The clocks say what its times mean now.

    Raises: LocalIOError where there is a book that cannot be read or understood.
    """
    path = state_dir / _FILE
    try:
        document = json.loads(path.read_bytes())
        if document["schema"] != _SCHEMA:
            raise ValueError("a schema that is unknown")
        return Memory(
            told=dict(map(_told, document["told"])),
            allowances={
                str(name): Allowance(float(each["events"]), monotonic - max(0.0, wall - float(each["at"])))
                for name, each in document["allowances"].items()
            },
            reports=tuple(map(_report, document.get("reports", ()))),  # of an older version: none
        )
    except FileNotFoundError:
        return Memory()
    except OSError as error:
        raise _unreadable(path, os.strerror(error.errno or 0)) from None
    except _DAMAGE:
        raise _unreadable(path, "it is damaged") from None


def _told(entry: Mapping[str, Any]) -> tuple[Trouble, Told]:
    event, since = entry["event"], entry["since"]
    if event not in URGENCY:
        raise ValueError("an event that is unknown")
    trouble = Trouble(str(entry["bundle"]), str(entry["what"]))
    when = None if since is None else float(since)
    return trouble, Told(event, str(entry["distinction"]), when, str(entry["message"]))


def _report(entry: Mapping[str, Any]) -> Report:
    return Report(str(entry["code"]), str(entry["message"]), str(entry["advice"]), float(entry["at"]))


def _unreadable(path: Path, reason: str) -> LocalIOError:
    return LocalIOError(
        f"cannot read what was alerted from {path}: {reason}",
        advice="nothing to do: what is wrong now is told once more, and the file is written anew",
    )


def write(state_dir: Path, memory: Memory, *, wall: float, monotonic: float) -> None:
    """Replaces the book. Blocks for the disk.

    Raises: LocalIOError.
    """
    document = {
        "schema": _SCHEMA,
        "told": [asdict(trouble) | asdict(told) for trouble, told in memory.told.items()],
        "allowances": {
            name: {"events": each.events, "at": wall - (monotonic - each.at)}
            for name, each in memory.allowances.items()
        },
        "reports": [asdict(report) for report in memory.reports],
    }
    temporary = state_dir / (_FILE + ".new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
        # No fsync: what a power cut loses is told once more.
        os.replace(temporary, state_dir / _FILE)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise LocalIOError(
            f"cannot write what was alerted in {state_dir}: {os.strerror(error.errno or 0)}",
            advice="free space there; until then a restart of secretsd tells what is wrong once more",
        ) from None
