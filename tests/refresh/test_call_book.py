"""Counts survive restarts, and whatever is wrong with their file costs figures and nothing else."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from datetime import date
from pathlib import Path

import pytest

from secretsd.refresh.source_book.call_book import CallBook
from secretsd.refresh.source_book.call_days import Tally, of_day

DAY_S = 86_400.0
NOON = 1_795_521_600.0  # 2026-11-24 12:00 UTC
TODAY = date(2026, 11, 24)


class Clock:
    """Wall time and monotonic time, which a test moves apart or together."""

    def __init__(self) -> None:
        self.wall = NOON
        self.monotonic = 1000.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def closed(clock: Clock) -> CallBook:
    return CallBook(lambda: clock.wall, lambda: clock.monotonic)


def opened(state_dir: Path, clock: Clock) -> CallBook:
    book = closed(clock)
    book.open(state_dir)
    return book


def test_time_counts_from_one_sign_of_life_to_the_next_and_not_before_the_first(clock: Clock) -> None:
    book = closed(clock)
    book.count("aws", {"GetSecretValue": 5})
    clock.pass_(300)
    book.count("aws", {"GetSecretValue": 5})
    clock.pass_(300)
    book.count("aws", {})
    assert of_day(book.days, TODAY, "aws") == Tally(600.0, {"GetSecretValue": 10})


def test_a_day_of_utc_ends_at_midnight(clock: Clock) -> None:
    book = closed(clock)
    clock.pass_(DAY_S / 2 - 1)
    book.count("aws", {"GetSecretValue": 1})
    clock.pass_(1)
    book.count("aws", {"GetSecretValue": 2})
    assert {day: tally["aws"].calls for day, tally in book.days.items()} == {
        "2026-11-24": {"GetSecretValue": 1},
        "2026-11-25": {"GetSecretValue": 2},
    }


def test_a_clock_that_jumps_makes_no_time(clock: Clock) -> None:
    book = closed(clock)
    book.count("aws", {"GetSecretValue": 1})
    clock.wall += 30 * DAY_S
    clock.monotonic += 60.0
    book.count("aws", {"GetSecretValue": 1})
    clock.wall -= 30 * DAY_S
    book.count("aws", {"GetSecretValue": 1})
    assert sum(tally["aws"].seen_s for tally in book.days.values()) <= 60.0
    assert of_day(book.days, TODAY, "aws").calls == {"GetSecretValue": 2}


def test_a_source_that_was_taken_out_for_days_was_not_seen_meanwhile(clock: Clock) -> None:
    book = closed(clock)
    book.count("aws", {})
    book.count("ssm", {})
    book.follow({"ssm"})
    clock.pass_(3600.0)
    book.count("aws", {"GetSecretValue": 1})
    book.count("ssm", {"GetParameters": 1})
    assert of_day(book.days, TODAY, "aws").seen_s == 0.0
    assert of_day(book.days, TODAY, "ssm").seen_s == 3600.0


def test_a_restart_goes_on_with_what_was_counted(tmp_path: Path, clock: Clock) -> None:
    async def first() -> None:
        book = opened(tmp_path, clock)
        book.count("aws", {"GetSecretValue": 1})
        clock.pass_(60)
        book.count("aws", {"GetSecretValue": 1})
        await book.close()

    asyncio.run(first())
    clock.pass_(3600)
    book = opened(tmp_path, clock)
    book.count("aws", {"GetSecretValue": 3})
    assert of_day(book.days, TODAY, "aws") == Tally(60.0, {"GetSecretValue": 5}), "nobody counted in between"
    assert (tmp_path / "calls.json").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["calls.json"]


def test_the_file_is_written_seldom(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "calls.json"

    async def scenario() -> None:
        book = opened(tmp_path, clock)
        for _ in range(100):
            book.count("aws", {"GetSecretValue": 1})
            clock.pass_(8)
        await asyncio.sleep(0.05)
        assert not file.exists()
        clock.pass_(200)
        book.count("aws", {"GetSecretValue": 1})
        writing = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.wait(writing, timeout=5)
        assert file.exists()
        await book.close()

    asyncio.run(scenario())
    assert json.loads(file.read_text())["days"]["2026-11-24"]["aws"]["calls"] == {"GetSecretValue": 101}


COUNTED = b'{"schema": 1, "days": {"2026-11-24": {"aws": {"seen_s": %b, "calls": {"GetSecretValue": %b}}}}}'


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"null", b"[]", b'{"schema": 2, "days": {}}', b'{"schema": 1, "days": {"x": {}}}',
        b'{"schema": 1, "days": {"2026-11-24": {"aws": {"seen_s": "fake", "calls": []}}}}', b"\xff" * 100,
        b"[" * 100_000,
        *(COUNTED % each for each in ((b"Infinity", b"1"), (b"NaN", b"1"), (b"-1", b"1"), (b"1", b"-1"))),
        COUNTED % (b"1", b"1" * 400),
    ],
    ids=range(14),
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_written_anew(
    tmp_path: Path, clock: Clock, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "calls.json").write_bytes(text)

    async def scenario() -> None:
        book = opened(tmp_path, clock)
        book.count("aws", {"GetSecretValue": 1})
        await book.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert [record.message for record in caplog.records] == ["counts of calls were not read"]
    assert of_day(opened(tmp_path, clock).days, TODAY, "aws").calls == {"GetSecretValue": 1}


def test_a_file_that_cannot_be_written_is_told_once_and_nothing_stops(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        book = opened(tmp_path / "nowhere", clock)
        for _ in range(5):
            clock.pass_(1000)
            book.count("aws", {"GetSecretValue": 1})
            await asyncio.sleep(0.02)
        await book.close()
        assert of_day(book.days, TODAY, "aws").calls == {"GetSecretValue": 5}

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert [record.message for record in caplog.records] == ["counts of calls were not written"]
