"""What `secretsctl cost` says, reckoned by hand."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import pytest

from secretsd.config.models import Config
from secretsd.control.cost import document
from secretsd.control.prices import calls_usd
from secretsd.refresh.source_book.call_days import Days, Tally
from tests.control.asking import Served
from tests.refresh.daemon import Home, live

TODAY = date(2026, 11, 24)
DAY_S = 86_400.0
PUSH = {"queue_url": "https://sqs.us-east-1.amazonaws.com/1/q"}


def secrets(source: str, *ids: str) -> list[dict[str, str]]:
    return [{"source": source, "id": name, "variable": f"V{n}"} for n, name in enumerate(ids)]


def config(*, interval: str = "1m", **tables: Any) -> Config:
    sources = {"aws": {"type": "aws-secretsmanager"}, **tables}
    bundles = {f"of-{name}": {"owner": "root", "secrets": secrets(name, "a", "b")} for name in sources}
    daemon = {"refresh_interval": interval, "refresh_jitter": "0"}
    return Config.model_validate({"daemon": daemon, "sources": sources, "bundles": bundles})


def of_source(
    calls: dict[str, int], *, seen_s: float = DAY_S, name: str = "aws", of: Config | None = None
) -> dict[str, Any]:
    days: Days = {TODAY.isoformat(): {name: Tally(seen_s, calls)}}
    sources: Any = document(of or config(), days, TODAY)["sources"]
    return dict(sources[name])


def test_twenty_secrets_one_by_one_each_minute_cost_what_the_price_list_says() -> None:
    found = of_source({"GetSecretValue": 28_800})
    assert (found["calls_a_day"], found["calls_a_month"], found["calls_usd"]) == (28_800.0, 864_000, 4.32)


def test_a_day_that_was_seen_in_part_is_stretched_and_an_hours_part_is_not() -> None:
    assert of_source({"GetSecretValue": 100}, seen_s=DAY_S / 4)["calls_a_day"] == 400.0
    short = of_source({"GetSecretValue": 100}, seen_s=3599.0)
    assert (short["calls_a_day"], short["calls_a_month"], short["calls_usd"]) == (None, None, None)
    assert (short["calls_today"], short["savings"], short["seen_s"]) == ({"GetSecretValue": 100}, [], 3599)


def test_an_average_is_of_the_last_seven_days_and_the_days_go_further_back() -> None:
    days: Days = {
        (TODAY - timedelta(days=back)).isoformat(): {
            "aws": Tally(DAY_S, {"GetSecretValue": 100 if back < 7 else 999})
        }
        for back in range(35)
    }
    sources: Any = document(config(), days, TODAY)["sources"]
    assert sources["aws"]["calls_a_day"] == 100.0
    assert len(sources["aws"]["days"]) == 35
    assert sources["aws"]["days"]["2026-10-25"] == {"seen_s": DAY_S, "calls": {"GetSecretValue": 999}}


def test_secrets_are_counted_once_and_a_replica_is_one_more() -> None:
    table = {
        "type": "aws-secretsmanager",
        "region": "us-east-1",
        "failover_regions": ["us-west-2", "eu-west-1"],
    }
    replicated = config(aws=table)
    more = replicated.model_dump(by_alias=True, exclude_unset=True)
    more["bundles"]["again"] = {"owner": "root", "secrets": [*secrets("aws", "a", "c")]}
    more["bundles"]["again"]["secrets"][0]["stage"] = "AWSPENDING"
    found = of_source({}, of=Config.model_validate(more))
    assert (found["secrets"], found["replicas"], found["secrets_usd"]) == (3, 6, 3.6)


def test_what_a_longer_interval_saves_is_the_calls_that_are_not_sent() -> None:
    found = of_source({"BatchGetSecretValue": 28_800})
    assert found["savings"] == [
        {"way": "interval", "refresh_interval_s": 900.0, "usd": round(4.32 * 14 / 15, 2)},
        {"way": "push", "refresh_interval_s": 1800.0, "usd": round(4.32 * 29 / 30, 2)},
    ]
    slow = of_source({"BatchGetSecretValue": 100_000}, of=config(interval="20m"))
    assert slow["savings"][0] == {"way": "interval", "refresh_interval_s": 2400.0, "usd": 7.5}


def test_a_bundle_that_is_slow_already_saves_nothing() -> None:
    mixed = config().model_dump(by_alias=True, exclude_unset=True)
    mixed["bundles"]["slow"] = {
        "owner": "root", "refresh_interval": "1h", "secrets": secrets("aws", "x"),
    }  # fmt: skip
    found = of_source({"BatchGetSecretValue": 61_000}, of=Config.model_validate(mixed))
    before, after = 60 + 1, 4 + 1  # refreshes an hour
    assert found["savings"][0]["usd"] == round(9.15 * (1 - after / before), 2)


def test_with_push_the_queues_calls_are_priced_apart_and_push_is_not_advised_again() -> None:
    table = {"type": "aws-secretsmanager", "push": PUSH}
    found = of_source({"ReceiveMessage": 4320, "BatchGetSecretValue": 48_000}, of=config(aws=table))
    assert found["refresh_interval_s"] == 1800.0
    assert found["calls_usd"] == 7.2, "129,600 calls of SQS are below the free million"
    assert [saving["way"] for saving in found["savings"]] == ["interval"]
    assert found["savings"][0]["refresh_interval_s"] == 3600.0


def test_the_queue_costs_something_beyond_its_free_million() -> None:
    assert calls_usd("aws-secretsmanager", {"ReceiveMessage": 1_000_000}) == 0.0
    assert calls_usd("aws-secretsmanager", {"ReceiveMessage": 900_000, "DeleteMessage": 1_100_000}) == 0.4


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("ssm", {"type": "aws-ssm"}),
        ("files", {"type": "file", "directory": "/etc/x"}),
        ("env", {"type": "env"}),
    ],
)
def test_what_is_free_costs_nothing_and_shows_its_calls(name: str, table: dict[str, Any]) -> None:
    free = config(**{name: table}) if name != "env" else config(env=table)
    found = of_source({"GetParameters": 288}, name=name, of=free)
    assert (found["calls_a_day"], found["calls_usd"], found["secrets_usd"]) == (288.0, 0.0, 0.0)
    assert (found["secrets"], found["savings"]) == (2, [])
    unseen = of_source({}, seen_s=0.0, name=name, of=free)
    assert (unseen["calls_a_day"], unseen["calls_usd"]) == (None, 0.0)


def test_a_source_that_no_bundle_wants_has_a_line_all_the_same() -> None:
    alone = Config.model_validate({"sources": {"aws": {"type": "aws-secretsmanager"}}})
    found = of_source({"GetSecretValue": 5}, of=alone)
    assert (found["secrets"], found["refresh_interval_s"], found["savings"]) == (0, None, [])


def test_the_daemon_counts_what_its_workers_sent(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Served(home, home.directory / "control.sock") as daemon:
            await daemon.loaded()
            daemon.conductor.bundles.sources.calls.count("aws", {"GetSecretValue": 2})
            body: Any = json.loads(json.dumps((await daemon.ask("cost")).body))
            assert body["sources"]["aws"]["calls_today"]["GetSecretValue"] >= 2
            assert body["sources"]["aws"]["secrets_usd"] == 0.4

    live(scenario())
