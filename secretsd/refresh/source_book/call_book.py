"""Counts the calls of each source by day, and keeps them over restarts: for `secretsctl cost`.

The file is written seldom and not synced to the disk: what a crash loses are figures, and the next days bring
new ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from secretsd.refresh.source_book.call_days import Days, Tally, counted

log = logging.getLogger(__name__)

_FILE = "calls.json"
_WRITE_EVERY_S = 900.0
_MOST_BYTES = 4 * 1024 * 1024  # 40 days of thousands of sources; what is larger, we have not written


@dataclass(frozen=True, slots=True)
class _Document:
    schema: Literal[1]
    days: dict[date, dict[str, Tally]]


_document: TypeAdapter[_Document] = TypeAdapter(_Document)


class CallBook:
    """The calls of all sources. Owned by the conductor's event loop.

    Until it is opened, and where its file cannot be written, it counts all the same and forgets with the
    process.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self.totals: dict[str, Counter[str]] = {}  # since this start of the daemon, by source
        self._days: Days = {}
        self._seen_until: dict[str, float] = {}  # monotonic seconds, of each source that is counted
        self._path: Path | None = None
        self._written_at = monotonic()
        self._writer: asyncio.Task[None] | None = None
        self._is_failing = False

    @property
    def days(self) -> Days:
        """What was counted so far."""
        return self._days

    @property
    def today(self) -> date:
        return datetime.fromtimestamp(self._wall(), UTC).date()

    def open(self, state_dir: Path) -> None:
        """Goes on where the last run ended. Blocks for the disk; a file that is of no use is left behind."""
        self._path = state_dir / _FILE
        try:
            with self._path.open("rb") as file:
                found = _document.validate_json(file.read(_MOST_BYTES))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            # Not its text, which quotes the file: who knows what stands in it if it is not ours.
            log.warning("counts of calls were not read", extra={"reason": type(error).__name__})
            return
        self._days = {day.isoformat(): sources for day, sources in found.days.items()}

    def follow(self, sources: Collection[str]) -> None:
        """Sources beside these are no longer counted: the time until they come back is nobody's."""
        self._seen_until = {name: at for name, at in self._seen_until.items() if name in sources}

    def count(self, source: str, calls: Mapping[str, int]) -> None:
        """Adds the requests that were sent for `source`, by operation; none are a sign of life, too.

        Whoever sends requests for a source calls this, again and again: the time between two calls is the
        time for which its requests were counted.
        """
        now = self._monotonic()
        seen_s = now - self._seen_until.get(source, now)
        self._seen_until[source] = now
        self.totals.setdefault(source, Counter()).update(calls)
        self._days = counted(self._days, self.today, source, Tally(seen_s, calls))
        if self._path is None or now - self._written_at < _WRITE_EVERY_S:
            return
        self._written_at = now
        if self._writer is None or self._writer.done():  # a disk that hangs has one write waiting, not many
            self._writer = asyncio.create_task(self._write(self._path), name="writing the counts of calls")

    async def close(self) -> None:
        """Returns when what was counted is in the file, if it can be."""
        if self._writer is not None:
            await self._writer
        if self._path is not None and self._days:
            await self._write(self._path)

    async def _write(self, path: Path) -> None:
        days = {date.fromisoformat(day): dict(sources) for day, sources in self._days.items()}
        text = _document.dump_json(_Document(1, days))
        try:
            await asyncio.to_thread(_replace, path, text)
        except OSError as error:
            if not self._is_failing:
                log.warning(
                    "counts of calls were not written", extra={"reason": os.strerror(error.errno or 0)}
                )
            self._is_failing = True
        else:
            self._is_failing = False


def _replace(path: Path, text: bytes) -> None:
    temporary = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
