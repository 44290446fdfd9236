"""A server that says what a test wants, and a real one for the whole run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from secretsd.config.sources import VaultSource as Table
from secretsd.errors import Failure
from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh.sources.clocks import Clocks
from secretsd.refresh.sources.interface import FetchFailure
from secretsd.refresh.sources.vault.calls import Timeouts
from secretsd.refresh.sources.vault.source import VaultSource
from tests.lab.openbao import OpenBao
from tests.refresh.sources.conftest import soon
from tests.refresh.sources.vault.scripted_vault import ScriptedVault

TOKEN = "fake-token-of-a-file"


class Open(Protocol):
    def __call__(self, table: dict[str, Any] | None = None, **options: object) -> VaultSource: ...


@pytest.fixture
def vault() -> Iterator[ScriptedVault]:
    server = ScriptedVault()
    yield server
    server.close()


@pytest.fixture
def open_source(vault: ScriptedVault, tmp_path: Path) -> Open:
    """Opens the source on the scripted server, by a token; waits between repetitions take no time."""
    place = written(tmp_path / "token", TOKEN)

    def opened(table: dict[str, Any] | None = None, **options: object) -> VaultSource:
        keys = {"address": vault.url, "login": {"method": "token", "token": place}, **(table or {})}
        given: dict[str, Any] = {
            "identity": None,
            "witness": None,
            "timeouts": Timeouts(connect_s=0.3, read_s=0.4),
            "clocks": Clocks(time.monotonic, time.time, lambda _: None),
        }
        return VaultSource(Table.model_validate({"type": "vault", **keys}), **{**given, **options})

    return opened


def written(path: Path, text: str) -> str:
    """The place of a file that holds `text`."""
    path.write_text(text)
    path.chmod(0o600)
    return f"file:{path}"


def by_token(server: OpenBao, directory: Path, token: str, **keys: object) -> Table:
    """A table that reads `server` by a token in a file."""
    place = written(directory / f"token-{token[-8:]}", token)
    return Table.model_validate(
        {"type": "vault", "address": server.address, "login": {"method": "token", "token": place}, **keys}
    )


def refs(*ids: str) -> list[SecretRef]:
    return [SecretRef("bao", each) for each in ids]


def payloads(source: VaultSource, *ids: str | SecretRef) -> list[bytes]:
    """The values of these secrets, all of which must come."""
    found = fetched(source, *ids)
    assert all(isinstance(each, FetchedSecret) for each in found), found
    return [each.payload for each in found if isinstance(each, FetchedSecret)]


def failures(source: VaultSource, *ids: str | SecretRef) -> list[Failure]:
    """Why these secrets cannot be had, none of which may come."""
    found = fetched(source, *ids)
    assert all(isinstance(each, FetchFailure) for each in found), found
    assert all(each.failure.advice for each in found if isinstance(each, FetchFailure))
    return [each.failure for each in found if isinstance(each, FetchFailure)]


def words(source: VaultSource, *ids: str | SecretRef) -> list[tuple[str, str]]:
    """Class and code of each failure."""
    return [(each.failure_class.value, each.code) for each in failures(source, *ids)]


def fetched(source: VaultSource, *ids: str | SecretRef) -> list[FetchedSecret | FetchFailure]:
    asked = [each if isinstance(each, SecretRef) else SecretRef("bao", each) for each in ids]
    return list(source.fetch(asked, deadline=soon()))
