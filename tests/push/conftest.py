"""A machine without AWS of its own: nothing of the developer's credentials or network is ever used."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.lab.aws import FAKE_CREDENTIALS, FakeAws
from tests.lab.push import FakePush
from tests.refresh.sources.scripted_aws import ScriptedAws


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in FAKE_CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def scripted() -> Iterator[ScriptedAws]:
    """A queue that answers whatever a test wants."""
    server = ScriptedAws()
    yield server
    server.close()


@pytest.fixture
def push(aws: FakeAws) -> FakePush:
    """The stack of the template, in moto."""
    return FakePush(aws)
