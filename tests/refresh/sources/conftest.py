"""A machine without AWS of its own: nothing of the developer's credentials or network is ever used."""

from __future__ import annotations

import functools
import os
import time
from typing import TYPE_CHECKING, Protocol

import pytest

from secretsd.model import CloudIdentity, SecretRef
from secretsd.refresh.sources.aws import session as aws_session
from secretsd.refresh.sources.aws.secretsmanager import SECRETS_MANAGER
from secretsd.refresh.sources.aws.session import Timeouts
from secretsd.refresh.sources.aws.source import AwsSource
from secretsd.refresh.sources.aws.ssm import PARAMETER_STORE
from secretsd.refresh.sources.clocks import Clocks
from tests.refresh.sources.scripted_aws import ScriptedAws

if TYPE_CHECKING:
    from collections.abc import Iterator

IDENTITY = CloudIdentity("fake-access-key", "fake-secret-key", "fake-token", 4e9, "iam-role")


class Open(Protocol):
    def __call__(self, **options: object) -> AwsSource: ...


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session", autouse=True)
def warm() -> None:
    aws_session.preload(["secretsmanager", "ssm"])


@pytest.fixture
def aws() -> Iterator[ScriptedAws]:
    server = ScriptedAws()
    yield server
    server.close()


@pytest.fixture
def open_source(aws: ScriptedAws) -> Open:
    """Opens the source on the scripted server; waits between repetitions take no time."""

    def opened(**options: object) -> AwsSource:
        given: dict[str, object] = {
            "service": SECRETS_MANAGER,
            "region": "us-east-1",
            "endpoint_url": aws.url,
            "identity": IDENTITY,
            "witness": None,
            "timeouts": Timeouts(connect_s=0.3, read_s=0.4),
            "clocks": Clocks(time.monotonic, time.time, lambda _: None),
        }
        return AwsSource(**{**given, **options})  # type: ignore[arg-type]

    return opened


@pytest.fixture
def open_store(open_source: Open) -> Open:
    """The same, of the Parameter Store."""
    return functools.partial(open_source, service=PARAMETER_STORE)


def refs(*ids: str) -> list[SecretRef]:
    return [SecretRef("aws", secret_id) for secret_id in ids]


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds
