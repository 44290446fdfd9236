"""The accept loop: one user's crowd, processes that are gone already, no descriptor left."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from secretsd.signing.doors import Door, Greeting, Slots
from secretsd.signing.peer import Identified

TURNED_AWAY = b"turned away"
CONNECT_AND_END = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"


class Listener(socket.socket):
    """A listening socket, whose next accepts fail with these errors."""

    def __init__(self, path: Path) -> None:
        super().__init__(socket.AF_UNIX)
        self.bind(os.fspath(path))
        self.listen()
        self.errors: list[int] = []

    def accept(self) -> tuple[socket.socket, object]:
        if self.errors:
            number = self.errors.pop()
            raise OSError(number, os.strerror(number))
        return super().accept()


class House:
    """An open door, and who came in."""

    def __init__(self, path: Path, slots: Slots) -> None:
        self.path = path
        self.slots = slots
        self.guests: list[tuple[socket.socket, Callable[[], None]]] = []
        self.listener = Listener(path)
        self.door = Door(self.listener, slots, Greeting(self._welcome, TURNED_AWAY))
        self.door.open()

    def _welcome(self, connection: socket.socket, identified: Identified, leave: Callable[[], None]) -> None:
        os.close(identified.pidfd)
        self.guests.append((connection, leave))

    def close(self) -> None:
        self.door.close()
        self.listener.close()
        for connection, _ in self.guests:
            connection.close()

    async def come(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(os.fspath(self.path))
        client.settimeout(0)
        await asyncio.sleep(0.02)
        return client


def taken(slots: Slots, uid: int, wanted: int) -> int:
    return sum(slots.take(uid) for _ in range(wanted))


def come_and_end(path: Path, count: int) -> None:
    """Blocks, and the loop with it: they are in the listener's queue when they end."""
    for _ in range(count):
        subprocess.run([sys.executable, "-c", CONNECT_AND_END, path], check=True)


def test_one_user_gets_no_more_than_its_share_and_again_what_it_gave_back() -> None:
    slots = Slots(total=100, per_user=10)
    assert taken(slots, 1, 20) == 10
    slots.give_back(1)
    assert taken(slots, 1, 20) == 1
    assert taken(slots, 2, 20) == 10


def test_many_users_together_leave_room_for_one_who_has_few() -> None:
    slots = Slots(total=64, per_user=16)
    assert [taken(slots, uid, 64) for uid in range(4)] == [16, 16, 16, 8]
    assert taken(slots, 4, 64) == 8
    assert len(slots) == 64
    assert not slots.take(5)


def test_a_smaller_share_after_a_reload_closes_nobody_out_but_lets_no_more_in() -> None:
    slots = Slots(total=100, per_user=10)
    assert taken(slots, 1, 10) == 10
    slots.resize(per_user=5)
    assert len(slots) == 10
    assert not slots.take(1)


def test_who_is_one_too_many_is_told_so_and_hung_up_on(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path / "s", Slots(total=8, per_user=1))
        with await house.come(), await house.come() as second:
            assert second.recv(100) == TURNED_AWAY
            assert second.recv(100) == b""
            assert len(house.guests) == 1
            house.guests[0][1]()
            with await house.come() as third:
                assert len(house.guests) == 2
                with pytest.raises(BlockingIOError):
                    third.recv(100)
        house.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def test_a_process_that_ended_before_it_was_let_in_keeps_no_slot(tmp_path: Path) -> None:
    async def main() -> None:
        house = House(tmp_path / "s", Slots(total=8, per_user=8))
        come_and_end(house.path, 3)
        await asyncio.sleep(0.05)
        assert house.guests == []
        assert len(house.slots) == 0
        with await house.come():
            assert len(house.guests) == 1, "one that lives is let in"
        house.close()

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_without_a_descriptor_left_the_door_waits_and_opens_again(tmp_path: Path, number: int) -> None:
    async def main() -> None:
        house = House(tmp_path / "s", Slots(total=8, per_user=8))
        house.listener.errors = [number] * 2
        with await house.come():
            assert house.guests == []
            for _ in range(500):
                if house.guests:
                    break
                await asyncio.sleep(0.01)
            assert len(house.guests) == 1
            assert house.listener.errors == []
        house.close()

    asyncio.run(asyncio.wait_for(main(), 20))
