"""A sentry over a real directory: what it keeps, what it tells, and what a disk in trouble does to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest
import uvloop

from secretsd.config.unusual import Unusual
from secretsd.unusual import book, sentry
from secretsd.unusual.findings import Finding
from secretsd.unusual.sentry import Sentry

KEY = ("key", "orders")
TELL_ALL = Unusual(learning="0s")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentry, "_JUDGE_S", 0.01)
    monkeypatch.setattr(sentry, "_SAVE_S", 0.05)


class Post:
    """A sentry, its trail and whoever hears of it."""

    def __init__(self, directory: Path, settings: Unusual = TELL_ALL) -> None:
        self.directory, self.settings = directory, settings
        self.trail: list[str] = []
        self.heard: list[Finding] = []
        self.sentry = Sentry(directory, settings, write=self.trail.append, alert=self.heard.append)
        self.sentry.open(settings, [KEY])

    def use(self, who: str = "bot.service") -> None:
        self.sentry.detector.used([KEY], who)

    def told(self) -> list[str]:
        return [str(json.loads(f"{{{each}}}").get("reason")) for each in self.trail]


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def test_what_was_learned_and_told_survives_a_crash(tmp_path: Path) -> None:
    async def scenario() -> None:
        post = Post(tmp_path)
        post.use()
        await until(lambda: bool(post.heard))
        kept = tmp_path / book.FILE
        await until(lambda: kept.exists() and "bot.service" in kept.read_text())
        after = Post(tmp_path)  # the other one was never closed
        after.use()
        after.use("new.service")
        await until(lambda: bool(after.heard))
        await after.sentry.close()
        assert [each.who for each in post.heard + after.heard] == ["bot.service", "new.service"]
        assert (post.told(), after.told()) == (["learning", "new-actor"], ["new-actor"])
        assert after.trail == [
            '"action":"unusual","actor":"daemon","phase":"outcome","result":"ok","reason":"new-actor",'
            '"keys":["orders"],"who":"new.service","count":1'
        ]

    asyncio.run(scenario())


@pytest.mark.parametrize("damage", ["", "{", '{"schema":99}', "\x00" * 1000])
def test_a_memory_that_is_damaged_or_of_another_version_begins_anew_and_says_so(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / book.FILE).write_text(damage)

    async def scenario() -> None:
        post = Post(tmp_path, Unusual())
        post.use()
        await post.sentry.close()
        assert post.told() == ["learning"]
        assert '"why":"unreadable"' in post.trail[0]
        assert not post.heard

    asyncio.run(scenario())
    assert "who uses what is learned anew" in caplog.text
    assert json.loads((tmp_path / book.FILE).read_bytes())["schema"] == 1


def test_a_disk_that_takes_nothing_is_told_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / f"{book.FILE}.new").mkdir()

    async def scenario() -> None:
        post = Post(tmp_path)
        post.use()
        await until(lambda: "is not kept" in caplog.text)
        await asyncio.sleep(0.3)  # and five more attempts
        assert [each.who for each in post.heard] == ["bot.service"]
        (tmp_path / f"{book.FILE}.new").rmdir()
        await until((tmp_path / book.FILE).exists)

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    assert caplog.text.count("is not kept") == 1


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """One of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a small disk")
def test_a_full_disk_keeps_what_was_saved_and_nobody_from_being_told(
    disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        post = Post(disk)
        post.use()
        await until((disk / book.FILE).exists)
        saved = (disk / book.FILE).read_bytes()
        with contextlib.suppress(OSError), (disk / "others").open("wb", buffering=0) as others:
            while others.write(b"x" * 512):
                pass
        post.use("new.service")
        await until(lambda: "is not kept" in caplog.text)
        assert vars(caplog.records[-1])["reason"].endswith("No space left on device")
        assert [each.who for each in post.heard] == ["bot.service", "new.service"]
        assert (disk / book.FILE).read_bytes() == saved
        (disk / "others").unlink()
        await until(lambda: b"new.service" in (disk / book.FILE).read_bytes())
        await post.sentry.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())


def test_a_disk_that_hangs_at_the_end_holds_up_no_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(sentry, "_PATIENCE_S", 0.1)
    monkeypatch.setattr(book, "write", lambda *_: answers.wait(10))

    async def scenario() -> None:
        post = Post(tmp_path)
        post.use()
        began = time.monotonic()
        await post.sentry.close()
        assert time.monotonic() - began < 1
        assert [each.who for each in post.heard] == ["bot.service"]
        answers.set()

    asyncio.run(scenario())


def test_nothing_ticks_while_nothing_is_used(tmp_path: Path) -> None:
    async def scenario() -> None:
        post = Post(tmp_path)
        post.use()
        await until((tmp_path / book.FILE).exists)
        await asyncio.sleep(0.2)
        assert post.sentry._timer is None
        post.use()
        assert post.sentry._timer is not None

    asyncio.run(scenario())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_look_that_is_due_at_once_keeps_nobody_from_noting(
    tmp_path: Path, run: Callable[[Coroutine[None, None, None]], None]
) -> None:
    async def scenario() -> None:
        post = Post(tmp_path)
        post.sentry._look_in(0.0)
        post.use()
        assert post.sentry._timer is not None
        await until(lambda: bool(post.heard))
        await post.sentry.close()

    run(scenario())


def test_what_waits_to_be_saved_or_summed_up_holds_up_no_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentry, "_SAVE_S", 600.0)

    async def scenario() -> None:
        post = Post(tmp_path)
        for uid in range(100):
            post.use(f"uid {uid}")
        await until(lambda: bool(post.heard))
        before = len(post.heard)
        post.use("uid 100")  # both wait: the save for ten minutes, the next sum for one
        for _ in range(20):
            post.sentry.detector.refused("uid 1")
        await until(lambda: len(post.heard) > before)
        await post.sentry.close()

    asyncio.run(scenario())
