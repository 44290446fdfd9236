"""What the daemon tells systemd: READY, STATUS, WATCHDOG (sd_notify(3)). Silent without systemd."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection
from typing import Any

from sdnotify import SystemdNotifier


class Service:
    """This process as systemd sees it."""

    def __init__(self) -> None:
        self._notifier = SystemdNotifier()
        self._last_status = ""

    def ready(self, status: str) -> None:
        self._last_status = status
        self._notifier.notify(f"READY=1\nSTATUS={status}")

    def status(self, line: str) -> None:
        if line != self._last_status:
            self._last_status = line
            self._notifier.notify(f"STATUS={line}")

    def stopping(self, status: str) -> None:
        self._notifier.notify(f"STOPPING=1\nSTATUS={status}")

    async def feed_watchdog(self, on_ping: Callable[[], None]) -> None:
        """Pings as often as WatchdogSec= needs; a blocked event loop stops pinging, and systemd acts.

        `on_ping` is what else may be done each time without another wake-up.
        """
        period_s = watchdog_period_s(os.environ.get("WATCHDOG_USEC"))
        if period_s is None:
            await asyncio.Event().wait()
            return
        while True:
            self._notifier.notify("WATCHDOG=1")
            on_ping()
            await asyncio.sleep(period_s)


async def until_one_ends(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Returns when one of a daemon's tasks has ended, as the one that waits for a signal does.

    None of the others ends by itself: if one does, that is a bug, and systemd restarts what is left.
    Raises: whatever that one met.
    """
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


def watchdog_period_s(watchdog_usec: str | None) -> float | None:
    """Half of systemd's limit, as sd_watchdog_enabled(3) recommends; None where there is none."""
    return int(watchdog_usec) / 1e6 / 2 if watchdog_usec and watchdog_usec.isdecimal() else None
