"""Each fault reaches a botocore client as the thing it is named for; and all is well without one."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
)

from tests.lab import faults
from tests.lab.aws import FakeAws
from tests.lab.dialects import Vault
from tests.lab.faults import (
    Away,
    ClockSkew,
    Cut,
    CutWhole,
    Drip,
    Hang,
    Huge,
    Refusal,
    Reset,
    WrongJson,
)
from tests.lab.proxy import FaultProxy
from tests.lab.tls import Authority, Certificate

BROKEN_CONNECTION = (ConnectionClosedError, ResponseStreamingError, EndpointConnectionError)


@pytest.fixture
def client(aws: FakeAws, proxy: FaultProxy) -> Any:
    aws.create("a", {"KEY": "fake-value"})
    aws.create("b", "fake-value-b")
    return aws.client(url=proxy.url)


def read(client: Any) -> Any:
    return client.get_secret_value(SecretId="a", VersionStage="AWSCURRENT")


def code_of(call: pytest.ExceptionInfo[ClientError]) -> str:
    return str(call.value.response["Error"]["Code"])


def test_without_a_fault_answers_pass_and_calls_are_counted(client: Any, proxy: FaultProxy) -> None:
    assert read(client)["SecretString"] == '{"KEY": "fake-value"}'
    answer = client.batch_get_secret_value(SecretIdList=["a", "b", "missing"])
    assert [entry["Name"] for entry in answer["SecretValues"]] == ["a", "b"]
    assert answer["Errors"][0]["ErrorCode"] == "ResourceNotFoundException"

    assert proxy.counts == {"GetSecretValue": 1, "BatchGetSecretValue": 1}
    assert proxy.calls[1].secret_ids == ("a", "b", "missing")
    assert proxy.calls[1].access_key_id.startswith("AKIAFAKE")


@pytest.mark.parametrize(
    "fault",
    [
        faults.THROTTLED,
        faults.SERVER_ERROR,
        faults.UNAVAILABLE,
        faults.EXPIRED_TOKEN,
        faults.UNKNOWN_CLIENT,
        faults.CLOCK_SKEW,
        faults.DENY_ALL,
    ],
    ids=lambda fault: fault.code,
)
def test_refusals_arrive_with_code_and_status(client: Any, proxy: FaultProxy, fault: Refusal) -> None:
    with proxy.broken(fault):
        for operation, arguments in (
            (client.get_secret_value, {"SecretId": "a"}),
            (client.batch_get_secret_value, {"SecretIdList": ["a"]}),
        ):
            with pytest.raises(ClientError) as refused:
                operation(**arguments)
            assert code_of(refused) == fault.code
            assert refused.value.response["Error"]["Message"] == fault.message
            assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == fault.status
    assert read(client)["Name"] == "a"


def test_a_denied_secret_leaves_its_neighbours_alone(client: Any, proxy: FaultProxy, aws: FakeAws) -> None:
    arn = aws.secretsmanager.describe_secret(SecretId="a")["ARN"]
    with proxy.broken(faults.deny("a")):
        answer = client.batch_get_secret_value(SecretIdList=["a", "b"])
        assert [entry["Name"] for entry in answer["SecretValues"]] == ["b"]
        assert [(entry["SecretId"], entry["ErrorCode"]) for entry in answer["Errors"]] == [
            ("a", "AccessDeniedException")
        ]
        assert client.batch_get_secret_value(SecretIdList=[arn])["SecretValues"] == []
        with pytest.raises(ClientError) as refused:
            read(client)
        assert code_of(refused) == "AccessDeniedException"
        assert client.get_secret_value(SecretId="b")["Name"] == "b"


def test_a_key_that_cannot_decrypt(client: Any, proxy: FaultProxy) -> None:
    with proxy.broken(faults.decryption_failure("b")):
        answer = client.batch_get_secret_value(SecretIdList=["a", "b"])
        assert answer["Errors"][0]["ErrorCode"] == "DecryptionFailure"
        with pytest.raises(ClientError) as refused:
            client.get_secret_value(SecretId="b")
        assert code_of(refused) == "DecryptionFailure"


def test_reset_in_the_middle(client: Any, proxy: FaultProxy) -> None:
    with proxy.broken(Reset()), pytest.raises(BROKEN_CONNECTION):
        read(client)
    with proxy.broken(Reset()), socket.create_connection(proxy.address) as raw:
        raw.sendall(request(b'{"SecretId": "a"}'))
        with pytest.raises(ConnectionResetError):
            received(raw)


def test_cut_closes_before_the_announced_end(client: Any, proxy: FaultProxy) -> None:
    read(client)
    whole = proxy.last_body_bytes
    for at in (0, 1, whole // 2, whole - 1):
        with proxy.broken(Cut(at)), socket.create_connection(proxy.address) as raw:
            raw.sendall(request(b'{"SecretId": "a"}'))
            head, _, body = received(raw).partition(b"\r\n\r\n")
            assert f"Content-Length: {whole}".encode() in head
            assert len(body) == at


def test_cut_whole_looks_like_a_whole_answer(client: Any, proxy: FaultProxy) -> None:
    with proxy.broken(CutWhole(30)):
        # This is what botocore makes of it: no error, and nothing in it.
        assert set(read(client)) == {"ResponseMetadata"}


def test_drip_outlasts_a_read_timeout_and_ends_when_cleared(aws: FakeAws, proxy: FaultProxy) -> None:
    aws.create("a", "fake-value")
    proxy.set(Drip(interval_s=0.05))
    with socket.create_connection(proxy.address) as raw:
        raw.sendall(request(b'{"SecretId": "a"}'))
        started = time.monotonic()
        seen = b""
        while time.monotonic() - started < 0.5:
            seen += raw.recv(1000)
        proxy.clear()
        body = (seen + received(raw)).partition(b"\r\n\r\n")[2]
    assert 2 <= len(body) < 30


def test_hang_never_answers_until_cleared(aws: FakeAws, proxy: FaultProxy) -> None:
    with proxy.broken(Hang()), socket.create_connection(proxy.address) as raw:
        raw.sendall(request(b"{}"))
        raw.settimeout(0.3)
        with pytest.raises(TimeoutError):
            raw.recv(1)
        proxy.clear()
        raw.settimeout(5)
        assert raw.recv(1) == b""


def test_hang_is_a_read_timeout(aws: FakeAws, proxy: FaultProxy) -> None:
    impatient = aws.client(url=proxy.url, read_timeout_s=0.5)
    with proxy.broken(Hang()), pytest.raises(ReadTimeoutError):
        read(impatient)


def test_huge_is_as_large_as_told(proxy: FaultProxy) -> None:
    with proxy.broken(Huge(1_000_000)), socket.create_connection(proxy.address) as raw:
        raw.sendall(request(b"{}", close=True))
        head, _, body = received(raw).partition(b"\r\n\r\n")
    assert b"Content-Length: 1000000" in head
    assert len(body) == 1_000_000
    assert body.endswith(b'"}')


@pytest.mark.parametrize("shape", WrongJson, ids=lambda shape: shape.value)
def test_wrong_json_is_never_the_right_answer(client: Any, proxy: FaultProxy, shape: WrongJson) -> None:
    right = client.batch_get_secret_value(SecretIdList=["a"])
    right.pop("ResponseMetadata")
    with proxy.broken(shape):
        assert batch_or_error(client) != right


def test_refused_connection_and_recovery(client: Any, proxy: FaultProxy) -> None:
    read(client)
    proxy.stop()
    with pytest.raises(BROKEN_CONNECTION):
        read(client)
    with pytest.raises(EndpointConnectionError):
        read(client)
    proxy.start()
    assert read(client)["Name"] == "a"


def test_a_fault_may_last_for_some_calls_or_one_operation(client: Any, proxy: FaultProxy) -> None:
    proxy.set(faults.THROTTLED, times=2)
    for _ in range(2):
        with pytest.raises(ClientError):
            read(client)
    assert read(client)["Name"] == "a"

    proxy.set(faults.THROTTLED, only="BatchGetSecretValue")
    assert read(client)["Name"] == "a"
    with pytest.raises(ClientError):
        client.batch_get_secret_value(SecretIdList=["a"])


def test_more_than_20_ids_are_refused_as_aws_does(client: Any, proxy: FaultProxy) -> None:
    assert len(client.batch_get_secret_value(SecretIdList=["a"] * 20)["SecretValues"]) == 20
    with pytest.raises(ClientError) as refused:
        client.batch_get_secret_value(SecretIdList=["a"] * 21)
    assert code_of(refused) == "ValidationException"


def batch_or_error(client: Any) -> Any:
    try:
        answer = client.batch_get_secret_value(SecretIdList=["a"])
    except Exception as error:  # noqa: BLE001 - botocore lets all sorts out, and any will do
        return type(error)
    answer.pop("ResponseMetadata")
    return answer


def request(body: bytes, *, close: bool = False) -> bytes:
    return (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: secretsmanager.GetSecretValue\r\n"
        b"Authorization: AWS4-HMAC-SHA256 Credential=AKIAFAKE/20260101/us-east-1/secretsmanager/x\r\n"
        + (b"Connection: close\r\n" if close else b"")
        + b"Content-Type: application/x-amz-json-1.1\r\n"
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body
    )


def received(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


@pytest.fixture
def tls_proxy(aws: FakeAws, tmp_path: Path) -> Iterator[FaultProxy]:
    with FaultProxy.local(aws.address, authority=Authority(tmp_path)) as proxy:
        yield proxy


def test_over_tls_all_is_well_with_the_good_certificate_and_each_bad_one_is_turned_away(
    aws: FakeAws, tls_proxy: FaultProxy, tmp_path: Path
) -> None:
    aws.create("a", "fake-value")
    client = aws.client(url=tls_proxy.url, ca_file=tmp_path / "ca.pem")
    for bad, complaint in (
        (Certificate.UNTRUSTED, "unable to get local issuer certificate"),
        (Certificate.EXPIRED, "certificate has expired"),
        (Certificate.WRONG_NAME, "doesn.t match"),
    ):
        assert read(client)["SecretString"] == "fake-value"
        with tls_proxy.broken(bad), pytest.raises(SSLError, match=complaint):
            read(aws.client(url=tls_proxy.url, ca_file=tmp_path / "ca.pem"))
    assert read(client)["SecretString"] == "fake-value"
    # Python's ssl tells a reset as an end, and botocore an end as a success.
    with tls_proxy.broken(Reset()):
        assert "SecretString" not in read(client)


def test_nobody_there_refuses_or_says_nothing_at_all(aws: FakeAws, client: Any, proxy: FaultProxy) -> None:
    with proxy.broken(Away.REFUSED), pytest.raises(ConnectionRefusedError):
        socket.create_connection(proxy.address, timeout=2)
    with proxy.broken(Away.BLACK_HOLE), pytest.raises(TimeoutError):
        socket.create_connection(proxy.address, timeout=0.5)
    assert read(client)["Name"] == "a"


@pytest.mark.parametrize("ahead_s", [903.0, -903.0])
def test_a_request_too_far_from_the_services_clock_is_refused_in_the_services_words(
    client: Any, proxy: FaultProxy, ahead_s: float
) -> None:
    with proxy.broken(ClockSkew(ahead_s)), pytest.raises(ClientError) as refused:
        read(client)
    assert code_of(refused) == "InvalidSignatureException"
    expected = "not yet current" if ahead_s > 0 else "expired"
    assert refused.value.response["Error"]["Message"].startswith(f"Signature {expected}: ")


def test_other_services_pass_through_and_say_no_in_their_own_words(aws: FakeAws) -> None:
    with FaultProxy.local(aws.address, dialect=Vault()) as proxy:
        address = f"{proxy.url}/v1/secret/data/a?version=1"
        with proxy.broken(faults.VAULT_SEALED), pytest.raises(urllib.error.HTTPError) as sealed:
            urllib.request.urlopen(address, timeout=2)
        assert (sealed.value.code, sealed.value.read()) == (503, b'{"errors": ["Vault is sealed"]}')
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(address, timeout=2)  # moto knows no such path
        assert proxy.counts == {"GET /v1/secret/data/a": 2}
        assert proxy.calls[0].secret_ids == ("a",)
