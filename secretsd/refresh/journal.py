"""The durable memory of what each bundle was given, which unit has loaded it, and what an operator holds.

A generation's number is written here before it can be shown, and a unit's number only after it has loaded
it. Whatever dies in between, the next start sees a published generation that some unit has not loaded,
and tells it. A journal that could not be written (a full disk) can therefore only cause one notification
too many, never one too few; so refreshes go on without it, and status says so.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from secretsd import durable
from secretsd.errors import LocalIOError
from secretsd.model import Hold, Showing

_SCHEMA = 1
_FILE = "journal.json"
# What a document that this module did not write can raise on its way to numbers.
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


@dataclass(frozen=True, slots=True)
class Entry:
    """One bundle's part of the journal."""

    generation: int = 0  # no number above this one was ever given
    loaded: Mapping[str, int] = field(default_factory=dict)  # unit -> the generation it runs on
    failed: Mapping[str, int] = field(default_factory=dict)  # unit -> the generation it last failed on
    shown: int = 0  # the generation that was shown last; 0 where the bundle was taken away
    history: tuple[Showing, ...] = ()  # oldest first
    hold: Hold | None = None
    # unit -> when secretsd restarted it within the last hour, seconds since the epoch
    restarts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


Entries = Mapping[str, Entry]

_history: TypeAdapter[tuple[Showing, ...]] = TypeAdapter(tuple[Showing, ...])
_hold: TypeAdapter[Hold | None] = TypeAdapter(Hold | None)


def read(state_dir: Path) -> dict[str, Entry]:
    """The journal as last written; empty where there is none.

    Raises: LocalIOError where there is one that cannot be read or understood.
    """
    path = state_dir / _FILE
    try:
        document = json.loads(path.read_bytes())
        if document["schema"] != _SCHEMA:
            raise ValueError(f"schema {document['schema']} is unknown")
        return {str(name): _entry(entry) for name, entry in document["bundles"].items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unreadable(path, os.strerror(error.errno or 0)) from None
    except _DAMAGE:
        raise _unreadable(path, "it is damaged") from None


def _entry(document: Mapping[str, Any]) -> Entry:
    def numbers(key: str) -> dict[str, int]:
        return {str(unit): int(generation) for unit, generation in document[key].items()}

    restarts = document.get("restarts", {})  # a journal of an earlier version has none
    return Entry(
        generation=int(document["generation"]),
        loaded=numbers("loaded"),
        failed=numbers("failed"),
        restarts={str(unit): tuple(map(float, moments)) for unit, moments in restarts.items()},
        shown=int(document.get("shown", 0)),
        history=_history.validate_python(document.get("history", ())),
        hold=_hold.validate_python(document.get("hold")),
    )


def _document(entry: Entry) -> dict[str, object]:
    return {
        "generation": entry.generation,
        "loaded": dict(entry.loaded),
        "failed": dict(entry.failed),
        "restarts": {unit: list(moments) for unit, moments in entry.restarts.items()},
        "shown": entry.shown,
        "history": _history.dump_python(entry.history, mode="json"),
        "hold": _hold.dump_python(entry.hold, mode="json"),
    }


def _unreadable(path: Path, reason: str) -> LocalIOError:
    return LocalIOError(
        f"cannot read the journal {path}: {reason}",
        advice=f"its holds and rollbacks are no longer in force: see {path}.unreadable; units are told again",
    )


def set_aside(state_dir: Path) -> None:
    """Keeps a journal that cannot be understood from being replaced: it may hold an operator's word.

    Raises: OSError.
    """
    os.replace(state_dir / _FILE, state_dir / (_FILE + ".unreadable"))


def write(state_dir: Path, entries: Entries) -> None:
    """Replaces the journal, durably: the old or the new one survives any crash. Blocks for the disk.

    Raises: LocalIOError.
    """
    bundles = {name: _document(entry) for name, entry in entries.items()}
    text = json.dumps({"schema": _SCHEMA, "bundles": bundles}, indent=1).encode() + b"\n"
    try:
        durable.replace(state_dir / _FILE, text)
    except OSError as error:
        raise LocalIOError(
            f"cannot write the journal in {state_dir}: {os.strerror(error.errno or 0)}",
            advice="free space there; until then a restart of secretsd may tell units twice",
        ) from None
