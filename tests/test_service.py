"""What a daemon's parts owe each other: none is gone while the others go on as if it were there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from secretsd.config.load import load
from secretsd.service import until_one_ends
from secretsd.shipping import __main__ as shipper
from secretsd.signing import __main__ as signer


async def _fails() -> None:
    raise RuntimeError("a bug")


async def _goes_on(*_: object) -> None:
    await asyncio.Event().wait()


def test_a_signal_ends_the_wait_and_so_does_a_part_that_fails() -> None:
    async def scenario(*parts: Callable[[], Coroutine[Any, Any, None]]) -> None:
        tasks = [asyncio.create_task(part()) for part in parts]
        try:
            await until_one_ends(tasks)
        finally:
            for task in tasks:
                task.cancel()

    asyncio.run(scenario(lambda: asyncio.sleep(0.01), _goes_on))
    with pytest.raises(RuntimeError, match="a bug"):
        asyncio.run(scenario(_goes_on, _fails))


@pytest.mark.parametrize("part", ["keeper", "prune", "monitor"])
def test_a_signer_whose_part_has_failed_lets_go_of_its_keys_and_ends(
    part: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: list[str] = []

    async def stop() -> None:
        told.append("stopped")

    def run(name: str) -> Callable[[], Coroutine[Any, Any, None]]:
        return _fails if name == part else _goes_on

    house = SimpleNamespace(
        reload=None,
        open=lambda _: None,
        keeper=SimpleNamespace(run=run("keeper")),
        prune=run("prune"),
        stop=stop,
    )
    sockets = SimpleNamespace(metrics=(), close=lambda: told.append("closed"))
    monkeypatch.setattr(signer, "listen", lambda _: sockets)
    monkeypatch.setattr(signer, "House", lambda *_: house)
    monkeypatch.setattr(signer, "monitor_of", lambda *_: SimpleNamespace(run=run("monitor")))
    settings: Any = SimpleNamespace(signer=SimpleNamespace(metrics_socket=tmp_path / "metrics.sock"))
    with pytest.raises(RuntimeError, match="a bug"):
        asyncio.run(signer._serve(tmp_path, settings))
    assert told == ["stopped", "closed"]


def test_a_shipper_that_cannot_be_watched_any_more_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "secretsd.toml"
    state = f'[daemon]\nstate_dir = "{tmp_path}"\nruntime_dir = "{tmp_path}/run"\n'
    config.write_text(f'{state}[audit]\nshipper_state_dir = "{tmp_path}/shipper"\n[audit.journal]\n')
    sockets = SimpleNamespace(adopt=lambda _: None)
    monitor = SimpleNamespace(run=_fails, sockets=sockets)
    monkeypatch.setattr(shipper, "monitor_of", lambda *_: monitor)
    with pytest.raises(RuntimeError, match="a bug"):
        asyncio.run(shipper._serve(config, load(config)))
