"""The conductor's side of one listener: start it, hear it, end it, start it again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
from collections.abc import Callable

from secretsd.errors import Failure, FailureClass
from secretsd.push import messages
from secretsd.push.messages import Assignment, Crashed, ListenerMessage, NotReceived, Received
from secretsd.refresh import child
from secretsd.refresh.schedule import retry_delay

log = logging.getLogger(__name__)

LISTENER_LOST = "listener-lost"
_MAX_LINE_BYTES = 256 * 1024
# It waits at the queue for 20 s, and after a failure for up to 60 s: what says nothing for longer hangs.
_SILENCE_S = 120.0
_FIRST_RETRY_S, _LONGEST_RETRY_S = 1.0, 60.0


class Listener:
    """One listener process and its successors, until `stop`.

    `hear` is told whatever comes, and a failure where the process is lost. Needs a running loop.
    """

    def __init__(self, assignment: Assignment, hear: Callable[[ListenerMessage], None]) -> None:
        self.assignment = assignment
        self.restarts = 0
        self._hear = hear
        self._has_answered = False
        self._task = asyncio.create_task(self._run(), name=f"listening for {assignment.source}")

    async def stop(self) -> None:
        """Ends the process; what it has not told by now comes again to whoever reads the queue next."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        lost = 0  # in a row
        while True:
            self._has_answered = False
            try:
                reason = await self._live()
            except OSError as error:
                reason = f"it does not start: {os.strerror(error.errno or 0)}"
            lost = 1 if self._has_answered else lost + 1
            self.restarts += 1
            fields = {"source": self.assignment.source, "reason": reason}
            log.warning("listener is lost and is started again", extra=fields)
            self._hear(NotReceived(_lost(self.assignment.source, reason), {}))
            await asyncio.sleep(
                retry_delay(lost, random.random(), first_s=_FIRST_RETRY_S, longest_s=_LONGEST_RETRY_S)
            )

    async def _live(self) -> str:
        """Why the process that it starts has ended, or was ended. Raises: OSError."""
        ours, theirs = socket.socketpair()
        try:
            process = await child.start("push.listener", theirs, is_outsider=True)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        try:
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_MAX_LINE_BYTES)
            with contextlib.closing(writer):
                writer.write(messages.encode_assignment(self.assignment))
                return await self._read(reader)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _read(self, reader: asyncio.StreamReader) -> str:
        while True:
            try:
                async with asyncio.timeout(_SILENCE_S):
                    line = await reader.readline()
                if not line:
                    return "it ended"
                message = messages.decode_message(line)
            except TimeoutError:
                return f"it said nothing for {_SILENCE_S:.0f} s"
            except ConnectionError:
                return "it ended"
            except ValueError:  # of the decoder, or a line that is too long
                return "it sent a message of unknown shape"
            if isinstance(message, Crashed):
                return f"it met a bug: {message.exception}"
            self._has_answered = self._has_answered or isinstance(message, Received)
            self._hear(message)


def _lost(source: str, reason: str) -> Failure:
    return Failure(
        code=LISTENER_LOST,
        failure_class=FailureClass.IO,
        message=f"the process that listens to the queue of source {source} was lost: {reason}",
        advice="it is started again by itself; if it stays: see journalctl -u secretsd, and this host's "
        "memory and TasksMax=",
    )
