"""The conductor's side of zygote and workers: start, talk, and end them by a deadline from outside."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Collection

from secretsd.refresh import child, messages
from secretsd.refresh.messages import Examination, Job, Verdict, WorkerMessage

log = logging.getLogger(__name__)

_REQUEST = b"W"
_MAX_MESSAGE_BYTES = 8 * 1024 * 1024
_ZYGOTE_START_S = 8.0
_KILL_S = 1.0


class WorkerLostError(Exception):
    """The worker or its zygote ended before the job was done."""


class WorkerChannel:
    """The connection to one running worker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pidfd: int) -> None:
        self._reader = reader
        self._writer = writer
        self._pidfd = pidfd

    async def messages(self) -> AsyncIterator[WorkerMessage]:
        """What the worker says, until it ends. Raises: ValueError for anything malformed."""
        with contextlib.suppress(ConnectionError):
            while line := await self._reader.readline():
                yield messages.decode_message(line)

    async def send_job(self, job: Job | Examination) -> None:
        await self._send(messages.encode_job(job))

    async def send_verdict(self, verdict: Verdict) -> None:
        await self._send(messages.encode_verdict(verdict))

    async def _send(self, line: bytes) -> None:
        # A worker that has died is noticed by `messages` ending.
        with contextlib.suppress(ConnectionError):
            self._writer.write(line)
            await self._writer.drain()

    async def close(self) -> None:
        """Kills the worker if it still runs, and waits for its end: what it has done by then it has done."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)  # a pidfd cannot hit another process
        try:
            async with asyncio.timeout(_KILL_S):
                await _readable(self._pidfd)
        except TimeoutError:
            log.error("a killed worker does not end", extra={"waited_s": _KILL_S})
        finally:
            os.close(self._pidfd)
            self._writer.close()


class Workers:
    """Hands out workers, keeping one zygote warm while there is work."""

    def __init__(self) -> None:
        self._kinds: frozenset[str] = frozenset()  # the types of sources that the next zygote warms
        self._warm: frozenset[str] = frozenset()  # those that the running one has warmed
        self._busy = 0  # workers that run or start
        self._control: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    def warm_for(self, kinds: Collection[str]) -> None:
        """Workers are going to ask sources of these types: a cold one costs each of them up to 100 ms."""
        self._kinds = frozenset(kinds)

    @contextlib.asynccontextmanager
    async def worker(self) -> AsyncIterator[WorkerChannel]:
        """A fresh worker, killed on leaving. Raises: WorkerLostError."""
        self._busy += 1
        try:
            async with self._forked() as channel:
                yield channel
        finally:
            self._busy -= 1

    @contextlib.asynccontextmanager
    async def _forked(self) -> AsyncIterator[WorkerChannel]:
        ours, theirs = socket.socketpair()
        try:
            pidfd = await self._fork(theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_MAX_MESSAGE_BYTES)
        channel = WorkerChannel(reader, writer, pidfd)
        try:
            yield channel
        finally:
            await channel.close()

    async def _fork(self, job_socket: socket.socket) -> int:
        async with self._lock:
            if self._busy == 1 and not self._kinds <= self._warm:
                await self._discard()  # its workers would die with it: only while this is the only one
            # The second try is for a zygote that had just ended because it was idle.
            for attempt in (1, 2):
                try:
                    control = self._control or await self._start()
                    return await _ask(control, job_socket)
                except (WorkerLostError, OSError):
                    await self._discard()
                    if attempt == 2:
                        raise WorkerLostError("the zygote does not start") from None
                except BaseException:
                    await self._discard()
                    raise
            raise AssertionError("unreachable")

    async def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        try:
            self._process = await child.start("refresh.worker.zygote", theirs, ",".join(sorted(self._kinds)))
        finally:
            theirs.close()
        self._control, self._warm = ours, self._kinds
        return ours

    async def _discard(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None

    async def close(self) -> None:
        """Ends the zygote, and with it every worker."""
        await self._discard()


async def _ask(control: socket.socket, job_socket: socket.socket) -> int:
    socket.send_fds(control, [_REQUEST], [job_socket.fileno()])
    try:
        async with asyncio.timeout(_ZYGOTE_START_S):
            await _readable(control.fileno())
    except TimeoutError:
        raise WorkerLostError("the zygote does not answer") from None
    data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    if data != _REQUEST or not descriptors:
        raise WorkerLostError("the zygote ended")
    return descriptors[0]


async def _readable(descriptor: int) -> None:
    """Returns when there is something to read; a pidfd is readable when its process has ended."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(descriptor)
