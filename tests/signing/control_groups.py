"""Control groups like those of systemd's services, for tests of who is in which."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def making() -> Iterator[Callable[[str], Path] | None]:
    """Makes groups below the mounted root, and removes in the end what it made.

    None without root, or where no hierarchy of version 2 may be written.
    """
    root = _unified()
    own = [line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
    if os.geteuid() != 0 or root is None or not own:
        yield None
        return
    made: list[Path] = []

    def make(path: str) -> Path:
        place = root
        for part in path.strip("/").split("/"):
            place = place / part
            if not place.exists():
                place.mkdir()
                made.append(place)
        return place

    try:
        yield make
    finally:
        for place in reversed(made):
            _remove(place)


def _unified() -> Path | None:
    """Where the hierarchy of version 2 is mounted, and may be written."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(place, os.W_OK):
            return Path(place)
    return None


def _remove(place: Path) -> None:
    """Once the last of its processes is gone."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            place.rmdir()
        if not place.exists():
            return
        time.sleep(0.02)
