from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from secretsd.config.sources import AwsSecretsManager
from secretsd.refresh.messages import SourceJob
from secretsd.refresh.sources import registry
from secretsd.refresh.sources.interface import Source
from tests.refresh.daemon import Home
from tests.refresh.fakes import FakeVault


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeVault]:
    """What every source of type aws-secretsmanager opens in this process."""
    vault, open_source = FakeVault(), registry.open_source

    def opened(name: str, job: SourceJob) -> Source:
        return vault.open() if isinstance(job.config, AwsSecretsManager) else open_source(name, job)

    monkeypatch.setattr(registry, "open_source", opened)
    yield vault
    vault.open_gate.set()


@pytest.fixture
def home(tmp_path: Path, vault: FakeVault) -> Home:
    vault.put("prod/bot", {"TOKEN": "fake-token-1"})
    return Home(tmp_path, vault)
