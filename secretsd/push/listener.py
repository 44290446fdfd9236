"""The listener: a process that waits at a queue and tells the conductor what it hears.

It reads what anybody may have sent, and so has no rights, no secret, and no say: what it tells are hints. Its
memory holds the credentials that the queue is read with. The conductor ends it by a kill.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import BinaryIO

from secretsd import process
from secretsd.push import events, messages
from secretsd.push.messages import Assignment, Hint
from secretsd.push.queue import WAIT_S, Message, Queue, QueueFailedError
from secretsd.refresh.schedule import retry_delay

# What it needs is about 120 MiB of address space; a made-up answer shall not get much further.
_ADDRESS_SPACE_BYTES = 300 * 1024 * 1024
# A queue that answers stays healthy where deleting fails: the conductor hears of it within a minute, always.
_FIRST_RETRY_S, _LONGEST_RETRY_S, _LONGEST_UNDELETED_S = 1.0, 60.0, 20.0
# An empty answer comes after 20 s. One that comes at once is not SQS, and is not to be asked in a hurry.
_SOONEST_EMPTY_S, _PAUSE_S = 1.0, 2.0


def main() -> None:
    """Takes the conductor's pid as its argument, and its socket as descriptor 0."""
    parent_pid = int(sys.argv[1])
    process.forbid_dumps()
    process.die_with_parent(parent_pid)
    process.limit_memory(_ADDRESS_SPACE_BYTES)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # nothing that a library prints may reach the daemon's log
        os.dup2(null, descriptor)
    with channel.makefile("rb") as reader, channel.makefile("wb") as writer:
        listen(messages.decode_assignment(reader.readline()), writer)


def listen(assignment: Assignment, writer: BinaryIO) -> None:
    """Until the conductor is gone."""
    with contextlib.suppress(ConnectionError):
        try:
            _Listening(assignment, writer).run()
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - nothing else would say that there is a bug
            _send(writer, messages.Crashed(type(error).__name__))


class _Listening:
    """One queue, asked again and again."""

    def __init__(self, assignment: Assignment, writer: BinaryIO) -> None:
        self._assignment, self._writer = assignment, writer
        self._queue = Queue(assignment)
        self._is_new = True
        self._undeleted = 0  # times in a row that what was received could not be deleted

    def run(self) -> None:
        failed = 0  # in a row
        while True:
            asked_at, was_new = time.monotonic(), self._is_new
            try:
                # The first time at once, so that the conductor hears whether the queue answers.
                found = self._queue.receive(wait_s=0 if was_new else WAIT_S)
            except QueueFailedError as error:
                failed += 1
                self._give_up(error)
                time.sleep(
                    retry_delay(failed, random.random(), first_s=_FIRST_RETRY_S, longest_s=_LONGEST_RETRY_S)
                )
                continue
            failed = 0
            self._tell(found)
            self._delete(found)
            if not found and not was_new and time.monotonic() - asked_at < _SOONEST_EMPTY_S:
                time.sleep(_PAUSE_S)

    def _give_up(self, error: QueueFailedError) -> None:
        _send(self._writer, messages.NotReceived(error.failure, self._queue.take_calls()))
        self._queue, self._is_new = Queue(self._assignment), True

    def _tell(self, found: Sequence[Message]) -> None:
        read = [events.read(message.body) for message in found]
        told = messages.Received(
            hints=tuple(dict.fromkeys(each for each in read if isinstance(each, Hint))),
            ignored=read.count("ignored"),
            malformed=read.count("malformed"),
            calls=self._queue.take_calls(),
        )
        _send(self._writer, told)

    def _delete(self, found: Sequence[Message]) -> None:
        """After they were told: should this process end in between, they come again."""
        if not found and not self._is_new:
            return
        self._is_new = False
        try:
            if found:
                self._queue.delete(found)
            else:
                self._queue.try_deleting()
        except QueueFailedError as error:
            self._undeleted += 1
            _send(self._writer, messages.Deleted(error.failure, self._queue.take_calls()))
            self._queue = Queue(self._assignment)
            # They come again and again: not to be received as fast as can be.
            time.sleep(
                retry_delay(
                    self._undeleted, random.random(), first_s=_FIRST_RETRY_S, longest_s=_LONGEST_UNDELETED_S
                )
            )
        else:
            self._undeleted = 0
            _send(self._writer, messages.Deleted(None, self._queue.take_calls()))


def _send(writer: BinaryIO, message: messages.ListenerMessage) -> None:
    writer.write(messages.encode_message(message))
    writer.flush()
