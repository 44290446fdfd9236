"""When an audit log is looked at: where its file may be gone, and a second after something was written.

A daemon that has nothing to do sleeps. Where nobody can listen for the file, it is looked at each second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from secretsd.audit.lookout import Lookout

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0  # docs/audit.md: a file that was removed is noticed within a second
_PAUSE_S = 0.05  # a change seldom comes alone


class Keeper:
    """Calls `look` on the loop, which returns whether it wants to look again in a second."""

    def __init__(self, path: Path, look: Callable[[], bool]) -> None:
        self._look = look
        self._lookout = Lookout(path, self._hear)
        self._is_stirred = asyncio.Event()
        self._has_heard = asyncio.Event()
        self._told_problem = ""

    def stir(self) -> None:
        """Something was written, or counted: how that went is to be seen a second from now."""
        self._is_stirred.set()

    async def run(self) -> None:
        """Keeps the log, for ever."""
        try:
            while True:
                # First, so that what happens after the look is heard.
                self._lookout.listen()
                wants_more = self._look()
                self._tell()
                if not wants_more and not self._lookout.problem:
                    await self._is_stirred.wait()
                self._is_stirred.clear()
                await self._rest()
        finally:
            self._lookout.close()

    def _hear(self) -> None:
        self._has_heard.set()
        self.stir()

    async def _rest(self) -> None:
        """A second; or until something is heard, and then what comes of it is to be seen a second later."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._has_heard.wait()
            self._has_heard.clear()
            await asyncio.sleep(_PAUSE_S)
            self.stir()

    def _tell(self) -> None:
        former, self._told_problem = self._told_problem, self._lookout.problem
        if self._told_problem and self._told_problem != former:
            fields = {"reason": self._told_problem, "looked_at_each_s": LOOK_EVERY_S}
            log.warning("the audit log's directory is not watched, only looked at", extra=fields)
        elif former and not self._told_problem:
            log.info("the audit log's directory is watched again")
