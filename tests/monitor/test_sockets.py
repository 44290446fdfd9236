"""Sockets that move with the configuration: a monitor always finds one of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from secretsd.monitor import sockets
from secretsd.monitor.sockets import Sockets


async def _serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_places_that_change_while_others_are_opened_close_nothing_before_they_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, taken = tmp_path / "first", tmp_path / "second", tmp_path / "taken"
    taken.mkdir()  # where no socket can be made
    start = sockets._start

    async def scenario() -> None:
        served = Sockets([first])

        async def slow(*arguments: object) -> asyncio.Server:
            served.adopt([taken])
            return await start(*arguments)  # type: ignore[arg-type]

        task = asyncio.create_task(served.serve(_serve))
        try:
            await _until(first.is_socket)
            monkeypatch.setattr(sockets, "_start", slow)
            served.adopt([first, second])
            await _until(lambda: bool(served.problems))
            assert first.is_socket()
            assert second.is_socket()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    asyncio.run(scenario())
