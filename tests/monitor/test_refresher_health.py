"""/readyz tells the truth: each fault turns it, and its end turns it back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from secretsd.logs import NonBlockingHandler
from tests.monitor.asking import Watched
from tests.monitor.faults import FAULTS, Fault, Stage
from tests.refresh.daemon import Home, live

TURNS_WITHIN_S = 60.0


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    yield
    for handler in list(logging.root.handlers):
        if isinstance(handler, NonBlockingHandler):
            logging.root.removeHandler(handler)


@contextlib.asynccontextmanager
async def stage_of(fault: Fault, home: Home, patch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    home.configure(fault.bundle)
    text = home.config.read_text()
    text = text.replace("[sources.aws]", f"{fault.daemon}\n[sources.aws]")
    home.config.write_text(
        text.replace('type = "aws-secretsmanager"\n', f'type = "aws-secretsmanager"\n{fault.source}')
    )
    async with home.helper() as helper, Watched(home) as watched:
        stage = Stage(watched, helper, patch)
        await watched.loaded()
        yield stage


async def state_of(daemon: Watched, check: str) -> str:
    _, document = await daemon.health()
    states = [each["state"] for each in document["checks"] if each["check"] == check]
    return next((state for state in ("fail", "warn") if state in states), "ok")


async def turned(daemon: Watched, check: str, *states: str) -> None:
    until = time.monotonic() + 5.0
    while (state := await state_of(daemon, check)) not in states:
        assert time.monotonic() < until, f"{check} stays {state}"
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_turns_readyz_and_its_end_turns_it_back(
    home: Home, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = FAULTS[name]

    async def scenario() -> None:
        async with stage_of(fault, home, monkeypatch) as stage:
            daemon = stage.daemon
            assert await state_of(daemon, fault.check) == "ok"
            began = time.monotonic()
            await fault.begin(stage)
            await turned(daemon, fault.check, "warn", "fail")
            assert time.monotonic() - began < TURNS_WITHIN_S
            status, document = await daemon.health()
            assert (document["state"], status) == (fault.word, 503 if fault.word == "not ready" else 200)
            wrong = [each for each in document["checks"] if each["state"] != "ok"]
            assert all(each["detail"] and each["fix"] for each in wrong), wrong
            await fault.end(stage)
            await turned(daemon, fault.check, "ok")

    live(scenario())
