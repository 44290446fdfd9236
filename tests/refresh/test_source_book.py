"""What the conductor makes of what workers tell it of their sources."""

from __future__ import annotations

import time
from typing import Any

import pytest

from secretsd.config.models import Config
from secretsd.model import EndpointSeen, Floor, SecretRef
from secretsd.refresh.messages import SourceAsked
from secretsd.refresh.source_book.book import SourceBook, Terms
from secretsd.refresh.source_book.call_days import of_day
from secretsd.refresh.source_book.endpoints import stops

TABLES: dict[str, Any] = {
    "aws": {
        "type": "aws-secretsmanager",
        "region": "us-east-1",
        "failover_regions": ["us-west-2"],
    },
    "same": {"type": "aws-secretsmanager", "region": "us-east-1"},
    "files": {"type": "file", "directory": "/etc"},
}


def configured(interval: str = "1h", *, bundle: str = "aws") -> Config:
    secret = {"source": bundle, "id": "bot", "variable": "TOKEN"}
    return Config.model_validate(
        {
            "daemon": {"refresh_interval": interval},
            "sources": TABLES,
            "bundles": {"bot": {"owner": "root", "secrets": [secret]}},
        }
    )


CONFIG = configured()
HOME, OTHER = (stop.endpoint for stop in stops(CONFIG.sources["aws"]))
BOT = SecretRef("aws", "bot")


def seen(endpoint: str, did: Any, code: str = "server-error") -> EndpointSeen:
    return EndpointSeen(endpoint, did, "" if did == "answers" else code)


def told(*endpoints: EndpointSeen, source: str = "aws", **calls: int) -> SourceAsked:
    return SourceAsked(source, calls, endpoints)


@pytest.fixture
def book() -> SourceBook:
    return SourceBook()


def retry_in_s(book: SourceBook, config: Config = CONFIG) -> float:
    at = book.retry_at(config, config.bundles["bot"])
    return at - time.monotonic() if at else 0.0


def test_a_source_is_believed_to_answer_until_it_does_not(book: SourceBook) -> None:
    job = book.job(CONFIG, "aws", {BOT}, Terms())
    assert (job.route.stops, job.route.cautious) == (stops(CONFIG.sources["aws"]), False)
    assert retry_in_s(book) == 0.0


def test_an_outage_makes_the_next_fetch_cautious_and_puts_it_off(book: SourceBook) -> None:
    for _ in range(2):
        book.heard(CONFIG, told(seen(HOME, "fails"), seen(OTHER, "fails")))
    assert book.job(CONFIG, "aws", {BOT}, Terms()).route.cautious
    assert 0.9 < retry_in_s(book) <= 10.0
    book.heard(CONFIG, told(seen(HOME, "answers")))
    assert not book.job(CONFIG, "aws", {BOT}, Terms()).route.cautious
    assert retry_in_s(book) == 0.0


def test_a_source_whose_other_region_answers_is_not_put_off(book: SourceBook) -> None:
    for _ in range(5):
        book.heard(CONFIG, told(seen(HOME, "fails"), seen(OTHER, "answers")))
    assert retry_in_s(book) == 0.0
    route = book.job(CONFIG, "aws", {BOT}, Terms()).route
    assert [stop.endpoint for stop in route.stops] == [OTHER, HOME]
    assert not route.cautious


def test_whoever_asks_by_hand_asks_the_home_region_first(book: SourceBook) -> None:
    book.heard(CONFIG, told(seen(HOME, "fails"), seen(OTHER, "answers")))
    route = book.job(CONFIG, "aws", {BOT}, Terms(by_hand=True)).route
    assert [stop.endpoint for stop in route.stops] == [HOME, OTHER]


def test_a_home_region_that_hung_a_worker_is_not_asked_first_by_hand_either(book: SourceBook) -> None:
    book.lost(CONFIG, "aws", HOME)
    route = book.job(CONFIG, "aws", {BOT}, Terms(by_hand=True)).route
    assert [stop.endpoint for stop in route.stops] == [OTHER, HOME]


def test_one_breaker_serves_all_sources_of_an_endpoint(book: SourceBook) -> None:
    config = configured(bundle="same")
    for _ in range(3):
        book.heard(config, told(seen(HOME, "fails"), source="same"))
    assert book.job(config, "aws", {BOT}, Terms()).route.cautious


def test_a_short_interval_is_not_stretched_by_an_outage_of_days(book: SourceBook) -> None:
    config = configured("2s")
    for _ in range(1000):
        book.heard(config, told(seen(HOME, "fails"), seen(OTHER, "fails")))
    assert retry_in_s(book, config) <= 2.0


def test_a_worker_that_was_killed_has_found_a_silent_endpoint_which_is_asked_last(book: SourceBook) -> None:
    for _ in range(2):
        book.lost(CONFIG, "aws", HOME)
    assert book.breakers[HOME].wants_caution
    assert book.job(CONFIG, "aws", {BOT}, Terms()).route.stops[0].endpoint != HOME
    assert book.breakers[HOME].code == "no-answer"


def test_calls_are_added_up(book: SourceBook) -> None:
    book.heard(CONFIG, told(BatchGetSecretValue=2))
    book.heard(CONFIG, told(BatchGetSecretValue=1, GetSecretValue=4))
    tally = of_day(book.calls.days, book.calls.today, "aws")
    assert tally.calls == {"BatchGetSecretValue": 3, "GetSecretValue": 4}


def test_what_is_told_of_a_source_that_a_reload_has_let_go_of_is_nothing(book: SourceBook) -> None:
    book.heard(CONFIG, told(seen("gone", "fails"), source="gone"))
    assert book.sources == {}


def test_floors_go_with_the_job_for_what_is_asked_alone(book: SourceBook) -> None:
    floor = Floor("v1", 1.0)
    job = book.job(CONFIG, "aws", {BOT}, Terms({BOT: floor, SecretRef("aws", "other"): floor}))
    assert job.floors == {BOT: floor}


def test_sources_of_this_host_have_no_endpoint(book: SourceBook) -> None:
    config = configured(bundle="files")
    assert book.job(config, "files", set(), Terms()).route.stops == ()
    assert retry_in_s(book, config) == 0.0
