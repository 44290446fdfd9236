"""From the signer to the refresher: who is heard, what is kept while nobody listens, and a flood."""

from __future__ import annotations

import array
import asyncio
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from secretsd.errors import LocalIOError
from secretsd.unusual import wire
from secretsd.unusual.findings import Finding
from secretsd.unusual.mailbox import Mailbox, Sender
from secretsd.unusual.post import Post

NOBODY = 65534
FOUND = Finding("new-actor", "bot.service", 1, (("key", "orders"),))
TEXT = wire.encoded(FOUND, 17.0)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sends as another user")
_SEND = """
import os, socket, sys
path, text, uid, times = sys.argv[1:]
os.setgroups([]); os.setgid(int(uid)); os.setuid(int(uid))
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
    for _ in range(int(times)):
        sender.sendto(text.encode(), path)
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that every user may pass."""
    with tempfile.TemporaryDirectory(prefix="secretsd-post-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


class Ears:
    def __init__(self, path: Path, sender: Sender | None = None) -> None:
        self.heard: list[Finding] = []
        self.mailbox = Mailbox(path, lambda finding, _: self.heard.append(finding))
        self.mailbox.open(sender or Sender(os.geteuid()))

    async def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < deadline, self.heard
            await asyncio.sleep(0.01)


async def send_as(uid: int, path: Path, text: bytes, times: int = 1) -> None:
    command = [sys.executable, "-c", _SEND, str(path), text.decode(), str(uid), str(times)]
    await asyncio.to_thread(subprocess.run, command, check=True)


def test_a_finding_that_nobody_hears_is_sent_when_somebody_does(directory: Path) -> None:
    async def scenario() -> None:
        path = directory / "s"
        post = Post(path)
        began = time.monotonic()
        for _ in range(3):
            post.send(FOUND)
        assert time.monotonic() - began < 0.1, "the signer waits for nobody"
        await asyncio.sleep(0.1)
        ears = Ears(path)
        await ears.until(lambda: ears.heard == [FOUND] * 3)
        ears.mailbox.close()
        post.send(FOUND)  # the refresher is killed: its socket is there, and nobody behind it
        again = Ears(path)
        await again.until(lambda: again.heard == [FOUND])
        assert post._timer is None, "nothing is tried when nothing waits"
        again.mailbox.close()
        post.close()

    asyncio.run(scenario())


def test_what_waits_is_bounded_and_nothing_is_kept_longer_than_a_day(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        post = Post(directory / "s")
        for _ in range(1000):
            post.send(FOUND)
        assert len(post._waiting) == 100
        later = time.monotonic() + 86500.0
        monkeypatch.setattr(time, "monotonic", lambda: later)
        post._deliver()
        assert not post._waiting
        assert post._timer is None
        post.close()

    asyncio.run(scenario())


@needs_root
def test_only_the_signers_user_is_heard(directory: Path) -> None:
    async def scenario() -> None:
        ears = Ears(directory / "s", Sender(NOBODY))
        text = TEXT
        await send_as(0, directory / "s", text)
        await send_as(1, directory / "s", text)
        await send_as(NOBODY, directory / "s", b"no finding")
        await asyncio.sleep(0.1)
        assert ears.heard == []
        await send_as(NOBODY, directory / "s", text)
        await ears.until(lambda: ears.heard == [FOUND])
        ears.mailbox.close()

    asyncio.run(scenario())


@needs_root
def test_the_socket_is_reached_by_the_signers_group_alone(directory: Path) -> None:
    async def scenario() -> None:
        ears = Ears(directory / "s", Sender(NOBODY, NOBODY))
        status = directory.stat()
        assert (status.st_gid, stat.S_IMODE(status.st_mode)) == (NOBODY, 0o710)
        with pytest.raises(subprocess.CalledProcessError):
            await send_as(1, directory / "s", TEXT)
        await send_as(NOBODY, directory / "s", TEXT)
        await ears.until(lambda: ears.heard == [FOUND])
        ears.mailbox.close()

    asyncio.run(scenario())


def test_descriptors_that_come_along_are_not_taken(directory: Path) -> None:
    async def scenario() -> None:
        ears = Ears(directory / "s")
        before = len(os.listdir("/proc/self/fd"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            passed = array.array("i", [0] * 5)
            parts = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)]
            sender.sendmsg([TEXT], parts, 0, str(directory / "s"))
            await ears.until(lambda: ears.heard == [FOUND])
        assert len(os.listdir("/proc/self/fd")) == before
        ears.mailbox.close()

    asyncio.run(scenario())


def test_a_flood_is_read_at_a_pace_that_leaves_time_for_refreshes(directory: Path) -> None:
    async def scenario() -> None:
        ears = Ears(directory / "s")
        flood = asyncio.create_task(send_as(os.geteuid(), directory / "s", TEXT, 100))
        await ears.until(lambda: bool(ears.heard))
        await asyncio.sleep(0.5)
        assert len(ears.heard) <= 50
        await flood
        await ears.until(lambda: len(ears.heard) == 100)
        ears.mailbox.close()

    asyncio.run(scenario())


def test_a_directory_that_is_not_there_is_an_error_with_a_fix(directory: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(LocalIOError, match=r"cannot listen for the signer .*No such file") as error:
            Ears(directory / "gone" / "s")
        assert "alert_command" in error.value.advice
        with pytest.raises(LocalIOError, match="too long"):
            Ears(directory / ("x" * 200))

    asyncio.run(scenario())


def test_a_directory_that_was_taken_back_is_given_again_and_nothing_is_missed(directory: Path) -> None:
    """As systemd does on each reload: RuntimeDirectory= is reset before ExecReload= runs."""

    async def scenario() -> None:
        sender = Sender(os.geteuid(), os.getegid())
        ears = Ears(directory / "s", sender)
        directory.chmod(0o700)
        post = Post(directory / "s")
        post.send(FOUND)
        ears.mailbox.open(sender)
        assert directory.stat().st_mode & 0o777 == 0o710
        post.send(FOUND)
        await ears.until(lambda: ears.heard == [FOUND] * 2)
        ears.mailbox.close()
        post.close()

    asyncio.run(scenario())
