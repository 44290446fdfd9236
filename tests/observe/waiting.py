"""Waiting for what a command writes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

_SOON_S = 5.0


async def written(path: Path) -> str:
    """The whole text of a file, once it ends with a line's end."""
    deadline = time.monotonic() + _SOON_S
    while not path.exists() or not path.read_text().endswith("\n"):
        assert time.monotonic() < deadline, f"{path} was never written"
        await asyncio.sleep(0.01)
    return path.read_text()
