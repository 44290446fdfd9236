"""The same source against moto: what a real client and a second implementation of the service make of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from secretsd.model import FetchedSecret, SecretRef
from secretsd.refresh.sources.aws.secretsmanager import SECRETS_MANAGER
from secretsd.refresh.sources.aws.source import AwsSource
from secretsd.refresh.sources.interface import FetchFailure
from tests.refresh.sources.conftest import IDENTITY, refs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def manager(moto_url: str) -> Any:
    boto3.client("s3")  # warms the loader of boto3's default session; contacts nothing
    client = boto3.client(
        "secretsmanager",
        region_name="us-east-1",
        endpoint_url=moto_url,
        aws_access_key_id="fake",
        aws_secret_access_key="fake",
    )
    for known in client.get_paginator("list_secrets").paginate(IncludePlannedDeletion=True):
        for secret in known["SecretList"]:
            client.delete_secret(SecretId=secret["ARN"], ForceDeleteWithoutRecovery=True)
    return client


def fetch(url: str, asked: list[SecretRef]) -> tuple[dict[SecretRef, Any], AwsSource]:
    source = AwsSource(SECRETS_MANAGER, region="us-east-1", endpoint_url=url, identity=IDENTITY, witness=None)
    found = list(source.fetch(asked, deadline=time.monotonic() + 8.0))
    assert len(found) == len(set(asked))
    return {outcome.ref: outcome for outcome in found}, source


def test_two_hundred_secrets_take_ten_calls(moto_url: str, manager: Any) -> None:
    names = [f"bundle/{number}" for number in range(200)]
    for name in names:
        manager.create_secret(Name=name, SecretString=f"fake-{name}")
    found, source = fetch(moto_url, refs(*names))
    assert {ref.id: outcome.payload for ref, outcome in found.items()} == {
        name: f"fake-{name}".encode() for name in names
    }
    assert source.calls == {"BatchGetSecretValue": 10}


def test_a_missing_an_empty_and_a_deleted_secret_do_not_fail_the_other_seventeen(
    moto_url: str, manager: Any
) -> None:
    names = [f"s{number}" for number in range(17)]
    for name in names:
        manager.create_secret(Name=name, SecretString="fake")
    manager.create_secret(Name="empty")
    manager.create_secret(Name="deleted", SecretString="fake")
    manager.delete_secret(SecretId="deleted")
    found, _ = fetch(moto_url, refs(*names, "empty", "deleted", "missing"))
    failed = {ref.id: out.failure.code for ref, out in found.items() if isinstance(out, FetchFailure)}
    # moto answers GetSecretValue for an empty secret with the words for a missing one; AWS does not.
    assert failed == {"empty": "secret-missing", "deleted": "secret-deleted", "missing": "secret-missing"}
    assert len([out for out in found.values() if isinstance(out, FetchedSecret)]) == 17


def test_stages_versions_binaries_and_arns_of_one_secret(moto_url: str, manager: Any) -> None:
    first = manager.create_secret(Name="rotated", SecretString="fake-1")
    manager.put_secret_value(SecretId="rotated", SecretString="fake-2")
    manager.put_secret_value(SecretId="rotated", SecretString="fake-3", VersionStages=["AWSPENDING"])
    binary = manager.create_secret(Name="binary", SecretBinary=b"\x00\xff")
    asked = [
        SecretRef("aws", "rotated"),
        SecretRef("aws", "rotated", "AWSPREVIOUS"),
        SecretRef("aws", "rotated", "AWSPENDING"),
        SecretRef("aws", "rotated", version=first["VersionId"]),
        SecretRef("aws", first["ARN"]),
        SecretRef("aws", first["ARN"][:-7]),
        SecretRef("aws", binary["ARN"]),
    ]
    found, _ = fetch(moto_url, asked)
    assert [found[ref].payload for ref in asked] == [
        b"fake-2",
        b"fake-1",
        b"fake-3",
        b"fake-1",
        b"fake-2",
        b"fake-2",
        b"\x00\xff",
    ]
    assert abs(found[asked[0]].created_at - time.time()) < 60
    assert found[asked[6]].is_binary
