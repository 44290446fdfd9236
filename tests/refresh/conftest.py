from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from secretsd.refresh.sources import registry
from tests.refresh.daemon import Home
from tests.refresh.fakes import FakeVault


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeVault]:
    """What every source of type aws-secretsmanager opens in this process."""
    vault = FakeVault()
    monkeypatch.setitem(registry.SOURCES, "aws-secretsmanager", vault.open)  # type: ignore[arg-type]
    yield vault
    vault.open_gate.set()


@pytest.fixture
def home(tmp_path: Path, vault: FakeVault) -> Home:
    vault.put("prod/bot", {"TOKEN": "fake-token-1"})
    return Home(tmp_path, vault)
