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
from secretsd.refresh.sources.aws.ssm import PARAMETER_STORE
from secretsd.refresh.sources.interface import FetchFailure
from tests.lab.proxy import FaultProxy
from tests.lab.tls import Authority, Certificate
from tests.refresh.sources.conftest import IDENTITY, refs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from secretsd.refresh.sources.aws.service import Service


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def client_of(service: str, url: str) -> Any:
    boto3.client("s3")  # warms the loader of boto3's default session; contacts nothing
    make: Any = boto3.client
    return make(
        service,
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="fake",
        aws_secret_access_key="fake",
    )


@pytest.fixture
def manager(moto_url: str) -> Any:
    client = client_of("secretsmanager", moto_url)
    for known in client.get_paginator("list_secrets").paginate(IncludePlannedDeletion=True):
        for secret in known["SecretList"]:
            client.delete_secret(SecretId=secret["ARN"], ForceDeleteWithoutRecovery=True)
    return client


@pytest.fixture
def store(moto_url: str) -> Any:
    client = client_of("ssm", moto_url)
    for page in client.get_paginator("describe_parameters").paginate():
        for known in page["Parameters"]:
            client.delete_parameter(Name=known["Name"])
    return client


def fetch(
    url: str, asked: list[SecretRef], service: Service = SECRETS_MANAGER
) -> tuple[dict[SecretRef, Any], AwsSource]:
    source = AwsSource(service, region="us-east-1", endpoint_url=url, identity=IDENTITY, witness=None)
    found = list(source.fetch(asked, deadline=time.monotonic() + 8.0))
    assert len(found) == len(set(asked))
    return {outcome.ref: outcome for outcome in found}, source


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (Certificate.EXPIRED, "certificate has expired"),
        (Certificate.UNTRUSTED, "unable to get local issuer certificate"),
        (Certificate.WRONG_NAME, "the certificate is another host's"),
    ],
)
def test_a_certificate_that_is_turned_away_is_told_with_its_reason(
    moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: Certificate, words: str
) -> None:
    host, _, port = moto_url.removeprefix("http://").partition(":")
    authority = Authority(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.ca_file))
    with FaultProxy.local((host, int(port)), authority=authority) as proxy, proxy.broken(shown):
        found, _ = fetch(proxy.url, refs("bundle/1"))
    (outcome,) = found.values()
    assert outcome.failure.code == "tls-failed"
    assert words in outcome.failure.message


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


def test_a_hundred_parameters_take_ten_calls(moto_url: str, store: Any) -> None:
    names = [f"/bundle/{number}" for number in range(100)]
    for name in names:
        store.put_parameter(Name=name, Value=f"fake-{name}", Type="SecureString")
    found, source = fetch(moto_url, refs(*names), PARAMETER_STORE)
    assert {ref.id: outcome.payload for ref, outcome in found.items()} == {
        name: f"fake-{name}".encode() for name in names
    }
    assert source.calls == {"GetParameters": 10}


def test_versions_labels_types_and_arns_of_parameters(moto_url: str, store: Any) -> None:
    for number in (1, 2, 3):
        store.put_parameter(Name="/bot/key", Value=f"fake-{number}", Type="SecureString", Overwrite=True)
    store.label_parameter_version(Name="/bot/key", ParameterVersion=2, Labels=["live"])
    store.put_parameter(Name="list", Value="fake,two", Type="StringList")
    store.put_parameter(Name="plain", Value="fake-plain", Type="String")
    arn = store.get_parameter(Name="/bot/key")["Parameter"]["ARN"]
    asked = [
        SecretRef("ssm", "/bot/key"),
        SecretRef("ssm", "/bot/key", version="1"),
        SecretRef("ssm", "/bot/key", "live"),
        SecretRef("ssm", arn),
        SecretRef("ssm", arn, version="2"),
        SecretRef("ssm", "list"),
        SecretRef("ssm", "plain"),
    ]
    found, _ = fetch(moto_url, asked, PARAMETER_STORE)
    assert [found[ref].payload for ref in asked] == [
        b"fake-3", b"fake-1", b"fake-2", b"fake-3", b"fake-2", b"fake,two", b"fake-plain",
    ]  # fmt: skip
    assert [found[ref].version_id for ref in asked] == ["3", "1", "2", "3", "2", "1", "1"]
    assert abs(found[asked[0]].created_at - time.time()) < 60


def test_what_the_store_does_not_have_does_not_fail_the_rest(moto_url: str, store: Any) -> None:
    for number in range(15):
        store.put_parameter(Name=f"/p/{number}", Value="fake", Type="SecureString")
    bad = [
        SecretRef("ssm", "/missing"),
        SecretRef("ssm", "/missing", version="2"),
        SecretRef("ssm", "/p/1", version="9"),
        SecretRef("ssm", "/p/2", "nowhere"),
    ]
    found, _ = fetch(moto_url, [*refs(*(f"/p/{number}" for number in range(15))), *bad], PARAMETER_STORE)
    assert [found.pop(ref).failure.code for ref in bad] == [
        "secret-missing", "secret-missing", "secret-empty", "secret-empty",
    ]  # fmt: skip
    assert all(isinstance(outcome, FetchedSecret) for outcome in found.values())
