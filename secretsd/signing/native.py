"""The native protocol's side of a connection: frames of SOCK_SEQPACKET in, answers out, in any order."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from functools import partial

from secretsd.signing import frame
from secretsd.signing.comeback import a_bug
from secretsd.signing.desk import Caller, Desk
from secretsd.signing.errors import SigningError, too_many_connections
from secretsd.signing.frame import MalformedFrame
from secretsd.signing.model import Answer
from secretsd.signing.peer import CREDENTIALS, Identified, identify_sender

# Room for exactly one ucred: descriptors that a client passes find none and are dropped by the kernel.
_ROOM = socket.CMSG_SPACE(CREDENTIALS.size)
_MOST_UNSENT = 64  # answers to a client that does not read them: then nothing more is read from it
_STUCK_S = 10.0  # and after this it is cut off
_MOST_UNREAD = 1024  # frames that are still answered at a stop, for a client that sends without end
_MOST_SENDERS = 4  # of one connection that are remembered
MOST_DESCRIPTORS = 2 + _MOST_SENDERS  # of one connection: its own, the peer's and one for each sender
# Plain numbers: Python's own are enumerations, and slow.
_TRUNCATED, _NO_SIGNAL = int(socket.MSG_TRUNC), int(socket.MSG_NOSIGNAL)
# One for all connections: what is read is copied out before the loop goes on.
_BUFFER = bytearray(frame.MAX_FRAME_BYTES)
_VIEW = memoryview(_BUFFER)

TURNED_AWAY = frame.encode_answer(0, too_many_connections())


class NativeConnection:
    """One client. Ends when the client hangs up, or when it does not read its answers."""

    def __init__(
        self, connection: socket.socket, desk: Desk, identified: Identified, closed: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._desk = desk
        self._identified = identified
        self._caller = Caller(identified.peer, identified.pidfd)
        self._closed = closed
        # Who sent a frame, as the kernel writes it -> who that is.
        self._senders: dict[bytes, Caller] = {}
        self._unsent: deque[bytes] = deque()
        self._stuck: asyncio.TimerHandle | None = None
        self._is_open = True
        self._is_reading = False
        self._loop = asyncio.get_running_loop()
        self._resume()

    def finish(self) -> None:
        """Answers what has come and was not read yet, and closes.

        A frame that nobody has read would make the client's next read fail, with answers still before it.
        """
        for _ in range(_MOST_UNREAD):
            if not self._is_reading or not self._read():
                break
        self.close()

    def close(self) -> None:
        """Nothing more is read or sent; requests under way are done and their answers dropped."""
        if not self._is_open:
            return
        self._is_open = False
        self._pause()
        if self._unsent:
            self._loop.remove_writer(self._connection)
        if self._stuck is not None:
            self._stuck.cancel()
        self._connection.close()
        for sender in {self._caller, *self._senders.values()}:
            sender.close()
        self._closed()

    # Reading ----------------------------------------------------------------------------------------------

    def _resume(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            self._loop.add_reader(self._connection, self._read)

    def _pause(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._connection)

    def _read(self) -> bool:
        """One frame, then the next connection's: a quick client would else keep the loop to itself.

        Returns whether something had come.
        """
        try:
            count, ancillary, flags, _ = self._connection.recvmsg_into((_BUFFER,), _ROOM)
        except BlockingIOError:
            return False
        except OSError:
            count, ancillary, flags = 0, [], 0
        if count:
            self._take(bytes(_VIEW[:count]), ancillary, is_cut=bool(flags & _TRUNCATED))
        else:
            self.close()
        return True

    def _take(self, data: bytes, ancillary: list[tuple[int, int, bytes]], *, is_cut: bool) -> None:
        request_id = 0
        try:
            if is_cut:
                raise MalformedFrame(f"a frame has at most {frame.MAX_FRAME_BYTES} bytes")
            request_id, request = frame.decode_request(data)
            sender = self._sender(ancillary)
        except MalformedFrame as error:
            refusal = SigningError("malformed-request", str(error), advice="see docs/native-protocol.md")
            self._desk.refuse(self._caller, refusal)
            self._answer(error.request_id, refusal)
            return
        except SigningError as error:
            self._desk.refuse(self._caller, error)
            self._answer(request_id, error)
            return
        try:
            self._desk.submit(sender, request, partial(self._answer, request_id))
        except Exception as error:  # noqa: BLE001 - one request's bug must not leave its client without an answer
            self._answer(request_id, a_bug(error))

    def _sender(self, ancillary: list[tuple[int, int, bytes]]) -> Caller:
        """Who sent the frame, usually the process that connected. Raises: SigningError peer-gone."""
        credentials = ancillary[0][2] if ancillary else b""
        known = self._senders.get(credentials)
        if known is not None:
            return known
        if len(credentials) != CREDENTIALS.size:
            raise SigningError("peer-gone", "the kernel does not say who sent this frame")
        pid, uid, gid = CREDENTIALS.unpack(credentials)
        peer = identify_sender(self._identified, pid, uid, gid)
        sender = self._caller if peer is self._identified.peer else Caller(peer, _descriptor(pid))
        self._forget_the_oldest_sender()
        self._senders[credentials] = sender
        return sender

    def _forget_the_oldest_sender(self) -> None:
        """One process may also name many users, those of its user namespace."""
        if len(self._senders) >= _MOST_SENDERS:
            forgotten = self._senders.pop(next(iter(self._senders)))
            if forgotten is not self._caller:
                forgotten.close()

    # Answering --------------------------------------------------------------------------------------------

    def _answer(self, request_id: int, answer: Answer | SigningError) -> None:
        if not self._is_open:
            return
        data = frame.encode_answer(request_id, answer)
        if self._unsent or not self._sent(data):
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        """For a client that does not read its answers at the moment."""
        if not self._unsent:
            self._loop.add_writer(self._connection, self._flush)
            self._stuck = self._loop.call_later(_STUCK_S, self.close)
        self._unsent.append(data)
        if len(self._unsent) >= _MOST_UNSENT:
            self._pause()

    def _sent(self, data: bytes) -> bool:
        """Whether nothing is left to do about `data`: it went out, or never will."""
        try:
            self._connection.send(data, _NO_SIGNAL)
        except BlockingIOError:
            return False
        except OSError:
            self.close()
        return True

    def _flush(self) -> None:
        while self._is_open and self._unsent:
            if not self._sent(self._unsent[0]):
                return
            self._unsent.popleft()
        if not self._is_open:
            return
        self._loop.remove_writer(self._connection)
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        self._resume()


def _descriptor(pid: int) -> int:
    """Raises: SigningError peer-gone."""
    try:
        return os.pidfd_open(pid)
    except (OSError, ValueError):
        raise SigningError("peer-gone", "the process that sent this frame has ended") from None
