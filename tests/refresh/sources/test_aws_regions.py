"""The other region helps in an outage, never against a refusal, and never with an older version."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from secretsd.config.sources import AwsSecretsManager as Table
from secretsd.errors import FailureClass
from secretsd.model import FetchedSecret, Floor, Route, SecretRef
from secretsd.refresh.messages import SourceJob
from secretsd.refresh.source_book.endpoints import stops
from secretsd.refresh.sources import registry
from secretsd.refresh.sources.interface import FetchFailure, RemoteSource
from tests.refresh.sources.conftest import IDENTITY, refs, soon
from tests.refresh.sources.scripted_aws import Answer, ScriptedAws, entry, error, honest, ok

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.refresh.sources.scripted_aws import Script

(BOT,) = refs("bot")
# What the home region does that lets the other one speak.
OUTAGES: dict[str, Answer] = {
    "an error of its own": error("InternalServiceError", status=500),
    "unavailable": Answer(503, b"<html>busy</html>"),
    "silence": ok({}, delay_s=9.0),
    "hangs up": Answer(200, b"", reset=True),
}
REFUSALS: dict[str, tuple[Answer, FailureClass, str]] = {
    "denied": (error("AccessDeniedException"), FailureClass.IDENTITY, "access-denied"),
    "missing": (error("ResourceNotFoundException"), FailureClass.REFUSAL, "secret-missing"),
    "deleted": (
        error("InvalidRequestException", "scheduled for deletion"),
        FailureClass.REFUSAL,
        "secret-deleted",
    ),
    "expired": (error("ExpiredTokenException"), FailureClass.IDENTITY, "expired-credentials"),
    "throttled": (error("ThrottlingException"), FailureClass.TRANSIENT, "throttled"),
}


class Regions:
    """Home and another region, each a server of its own."""

    def __init__(self, home: ScriptedAws, other: ScriptedAws) -> None:
        self.home, self.other = home, other
        self.table = Table(
            type="aws-secretsmanager",
            region="us-east-1",
            endpoint_url=home.url,
            failover_regions=("us-west-2",),
            failover_endpoint_urls={"us-west-2": other.url},
        )
        self.floors: dict[SecretRef, Floor] = {}

    def fetch(
        self, *asked: SecretRef, route: Route | None = None, within_s: float = 7.0
    ) -> tuple[dict[str, FetchedSecret | FetchFailure], RemoteSource]:
        route = route or Route(stops(self.table))
        job = SourceJob(self.table, route=route, floors=self.floors, identity=IDENTITY)
        source = registry.open_source("aws", job)
        found = list(source.fetch(asked or (BOT,), deadline=soon(within_s)))
        assert [each.ref for each in found].count(found[0].ref) == 1
        assert {each.ref for each in found} == set(asked or (BOT,))
        assert isinstance(source, RemoteSource)
        return {each.ref.id: each for each in found}, source

    def away(self, *, probe: bool = False) -> Route:
        """The route of a source that has gone over."""
        home, other = stops(self.table)
        return Route((other, home), home if probe else None)


@pytest.fixture
def regions(aws: ScriptedAws) -> Iterator[Regions]:
    with contextlib.closing(ScriptedAws()) as other:
        yield Regions(aws, other)


def version(version_id: str, created: float, text: str = "fake-value") -> Script:
    def script(operation: str, params: dict[str, object]) -> Answer:
        one = entry("bot", text, VersionId=version_id, CreatedDate=created)
        return ok({"SecretValues": [one]}) if operation == "BatchGetSecretValue" else ok(one)

    return script


def failure(found: FetchedSecret | FetchFailure) -> tuple[FailureClass, str]:
    assert isinstance(found, FetchFailure)
    assert found.failure.message
    assert found.failure.advice
    return found.failure.failure_class, found.failure.code


@pytest.mark.parametrize("outage", OUTAGES)
def test_the_other_region_answers_when_home_cannot(regions: Regions, outage: str) -> None:
    regions.home.answer_in_turn(OUTAGES[outage])
    began = time.monotonic()
    found, source = regions.fetch()
    assert isinstance(found["bot"], FetchedSecret)
    assert [(each.region, each.did) for each in source.endpoints] == [
        ("us-east-1", "fails"),
        ("us-west-2", "answers"),
    ]
    assert time.monotonic() - began < 7.0


def test_nobody_home_is_no_network(regions: Regions) -> None:
    regions.home.close()
    found, _ = regions.fetch()
    assert isinstance(found["bot"], FetchedSecret)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_at_home_is_final(regions: Regions, refusal: str) -> None:
    answer, *expected = REFUSALS[refusal]
    regions.home.answer_in_turn(answer)
    found, _ = regions.fetch()
    assert failure(found["bot"]) == tuple(expected)
    assert regions.other.requests == []


def test_a_refusal_at_home_is_final_while_the_other_region_is_in_use(regions: Regions) -> None:
    regions.other.answer_in_turn(error("ResourceNotFoundException"))
    regions.home.answer_in_turn(error("ResourceNotFoundException"))
    found, _ = regions.fetch(route=regions.away())
    assert failure(found["bot"]) == (FailureClass.REFUSAL, "secret-missing")


@pytest.mark.parametrize("refusal", ["missing", "deleted", "denied"])
def test_what_a_replica_refuses_is_no_refusal_of_the_secret(regions: Regions, refusal: str) -> None:
    regions.home.answer_in_turn(OUTAGES["an error of its own"])
    regions.other.answer_in_turn(REFUSALS[refusal][0])
    for route in (None, regions.away()):
        found, _ = regions.fetch(route=route)
        assert failure(found["bot"]) == (FailureClass.TRANSIENT, "server-error")


def test_one_secret_that_is_not_replicated_does_not_fail_the_others(regions: Regions) -> None:
    def half(operation: str, params: dict[str, object]) -> Answer:
        if operation == "BatchGetSecretValue":
            gone = {"SecretId": "gone", "ErrorCode": "ResourceNotFoundException", "Message": ""}
            return ok({"SecretValues": [entry("bot")], "Errors": [gone]})
        return error("ResourceNotFoundException")

    regions.home.close()
    regions.other.script = half
    found, _ = regions.fetch(*refs("bot", "gone"))
    assert isinstance(found["bot"], FetchedSecret)
    assert failure(found["gone"])[0] is FailureClass.TRANSIENT


def test_a_replica_that_is_behind_is_not_believed_and_named(regions: Regions) -> None:
    regions.home.close()
    regions.floors = {BOT: Floor("v2", 200.0, frozenset({"v1"}))}
    for stale in (version("v1", 100.0), version("v1", 900.0), version("v0", 199.0)):
        regions.other.script = stale
        for route in (None, regions.away()):
            found, _ = regions.fetch(route=route)
            assert failure(found["bot"]) == (FailureClass.TRANSIENT, "replica-behind")
    regions.other.script = version("v2", 200.0)
    assert isinstance(regions.fetch()[0]["bot"], FetchedSecret)
    regions.other.script = version("v3", 201.0)
    assert isinstance(regions.fetch()[0]["bot"], FetchedSecret)


def test_home_may_go_back_to_an_older_version_the_replica_may_not(regions: Regions) -> None:
    regions.floors = {BOT: Floor("v2", 200.0)}
    regions.home.script = version("v1", 100.0)
    assert isinstance(regions.fetch()[0]["bot"], FetchedSecret)


def test_where_the_replica_is_behind_and_home_answers_home_is_right(regions: Regions) -> None:
    regions.floors = {BOT: Floor("v2", 200.0)}
    regions.other.script = version("v1", 100.0)
    regions.home.script = version("v3", 300.0, "fake-newest")
    found, _ = regions.fetch(route=regions.away())
    assert isinstance(found["bot"], FetchedSecret)
    assert found["bot"].version_id == "v3"


def test_home_is_probed_with_one_secret_and_its_value_is_not_used(regions: Regions) -> None:
    regions.home.script = honest
    found, source = regions.fetch(*refs("a", "b", "c"), route=regions.away(probe=True))
    assert all(isinstance(each, FetchedSecret) for each in found.values())
    assert len(regions.home.requests) == 1
    assert [(each.region, each.did) for each in source.endpoints] == [
        ("us-west-2", "answers"),
        ("us-east-1", "answers"),
    ]
    assert sum(source.calls.values()) == 2


def test_a_probe_of_a_silent_home_costs_little_time(regions: Regions) -> None:
    regions.home.answer_in_turn(OUTAGES["silence"])
    began = time.monotonic()
    found, source = regions.fetch(route=regions.away(probe=True))
    assert isinstance(found["bot"], FetchedSecret)
    assert time.monotonic() - began < 3.0
    assert [each.did for each in source.endpoints] == ["answers", "fails"]
    assert len(regions.home.requests) == 1


def test_two_regions_that_are_silent_end_in_time_with_what_is_wrong_at_home(regions: Regions) -> None:
    for server in (regions.home, regions.other):
        server.answer_in_turn(OUTAGES["silence"])
    began = time.monotonic()
    found, _ = regions.fetch(*refs(*(f"s{number}" for number in range(60))))
    assert {failure(each) for each in found.values()} == {(FailureClass.TRANSIENT, "unreachable")}
    assert time.monotonic() - began < 7.5


def test_nothing_is_asked_twice_where_all_is_well(regions: Regions) -> None:
    regions.fetch(*refs("a", "b"))
    assert (len(regions.home.requests), regions.other.requests) == (1, [])
