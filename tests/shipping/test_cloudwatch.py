"""CloudWatch Logs: in order, within its limits, and what it will never take is counted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from secretsd.config.shipping import AuditCloudWatch
from secretsd.shipping.courier import ChainPlace, Courier
from secretsd.shipping.sinks import cloudwatch
from secretsd.shipping.sinks.cloudwatch import CloudWatch, batch_of, refused_events
from tests.lab.aws import FAKE_CREDENTIALS, REGION, FakeAws
from tests.lab.proxy import FaultProxy
from tests.shipping import chains
from tests.shipping.chains import Chain
from tests.shipping.conftest import client

_GROUP = "/fake/audit"


@pytest.fixture
def logs(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in FAKE_CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(chains, "TIME", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    found = client("logs", aws.url)
    found.create_log_group(logGroupName=_GROUP)
    return found


def a_courier(url: str, chain: Chain, state_dir: Path, group: str = _GROUP) -> Courier:
    config = AuditCloudWatch.model_validate({"log_group": group, "region": REGION, "endpoint_url": url})
    return Courier(CloudWatch(config), [ChainPlace(chain.daemon, chain.directory)], state_dir)


def events(logs: Any) -> list[dict[str, Any]]:
    stream = f"{os.uname().nodename}/signer"
    found, token = [], {}
    while True:
        answer = logs.get_log_events(
            logGroupName=_GROUP, logStreamName=stream, startFromHead=True, limit=1000, **token
        )
        if not answer["events"]:
            return [json.loads(each["message"]) for each in found]
        found += answer["events"]
        token = {"nextToken": answer["nextForwardToken"]}


def test_records_arrive_whole_and_in_order(logs: Any, aws: FakeAws, chain: Chain, tmp_path: Path) -> None:
    courier = a_courier(aws.url, chain, tmp_path / "state")
    chain.add(2500)
    courier.round()
    chain.add(10)
    courier.round()
    assert courier.failure is None
    found = events(logs)
    assert [each["seq"] for each in found] == list(range(1, 2511))
    assert found[-1]["hash"] == chain.head.hash.decode()


def test_an_outage_is_caught_up(logs: Any, aws: FakeAws, chain: Chain, tmp_path: Path) -> None:
    from tests.lab.faults import Refusal

    with FaultProxy.local(aws.address) as proxy:
        courier = a_courier(proxy.url, chain, tmp_path / "state")
        chain.add(5)
        courier.round()
        with proxy.broken(Refusal(500, "ServiceUnavailableException", "fake")):
            for _ in range(5):
                chain.add(5)
                courier.round()
            assert courier.failure is not None
            assert courier.failure.code == "server-error"
        with proxy.broken(Refusal(400, "ThrottlingException", "fake")):
            courier.round()
            assert courier.failure.code == "throttled"
        courier.round()
    assert courier.failure is None
    assert [each["seq"] for each in events(logs)] == list(range(1, 31))


def test_a_missing_group_is_named(logs: Any, aws: FakeAws, chain: Chain, tmp_path: Path) -> None:
    del logs
    courier = a_courier(aws.url, chain, tmp_path / "state", group="/not/there")
    chain.add(1)
    courier.round()
    assert courier.failure is not None
    assert courier.failure.code == "log-group-missing"
    assert "[audit.cloudwatch]" in courier.failure.advice


def lines(*times: str, size: int = 10) -> Iterator[bytes]:
    for time in times:
        yield f'{{"seq":1,"time":"{time}","action":"{"x" * size}"}}\n'.encode()


_NOON = "2026-03-01T12:00:00.000000Z"


def test_no_call_is_larger_than_the_service_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of(lines(*[_NOON] * 12_000), 0)
    assert (batch.records, len(batch.events)) == (10_000, 10_000)
    batch = batch_of(lines(*[_NOON] * 12_000, size=1000), 0)
    assert batch.records < 1100
    assert sum(len(str(each["message"])) + 26 for each in batch.events) <= 1048576
    batch = batch_of(lines(_NOON, "2026-03-02T11:59:59.999000Z", "2026-03-02T12:00:00.000000Z"), 0)
    assert batch.records == 2
    monkeypatch.setattr(cloudwatch, "_MOST_EVENTS", 1)
    assert batch_of(lines(_NOON, _NOON), 0).records == 1


def test_a_clock_that_was_set_back_does_not_break_the_order() -> None:
    batch = batch_of(lines(_NOON, "2026-03-01T11:00:00.000000Z", "2026-03-01T12:00:01.000000Z"), 0)
    at = [int(str(each["timestamp"])) for each in batch.events]
    assert at == sorted(at)
    assert len(at) == 3
    assert at[1] == at[0]


def test_a_record_that_is_too_long_is_counted_and_the_rest_goes_on() -> None:
    batch = batch_of((*lines(_NOON), *lines(_NOON, size=300_000), *lines(_NOON)), 0)  # type: ignore[arg-type]
    assert (batch.records, len(batch.events), batch.too_long) == (3, 2, 1)


@pytest.mark.parametrize(
    ("info", "refused"),
    [
        ({}, 0),
        ({"tooOldLogEventEndIndex": 3}, 3),
        ({"expiredLogEventEndIndex": 2, "tooOldLogEventEndIndex": 3}, 3),
        ({"tooNewLogEventStartIndex": 8}, 2),
        ({"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 9}, 2),
    ],
)
def test_events_that_it_refuses_for_good_are_counted(info: dict[str, int], refused: int) -> None:
    assert refused_events(info, 10) == refused
