"""What was found unusual is among the records of its key, its bundle, its secret and its actor."""

from __future__ import annotations

import json

import pytest

from secretsd.audit.actions import EVERY
from secretsd.audit.query import Query, Sieve
from secretsd.unusual.findings import ACTION, Finding, Thing, told

THINGS: tuple[Thing, ...] = (
    ("key", "orders"),
    ("key", "hot"),
    ("secret", "aws", "prod/bot"),
    ("bundle", "bot"),
)
LINE = f"{{{told(Finding('new-actor', 'uid 1001', 4, THINGS))}}}".encode()


@pytest.mark.parametrize(
    "query",
    [
        Query(keys=frozenset({"hot"})),
        Query(secrets=frozenset({"prod/bot"})),
        Query(bundles=frozenset({"bot"})),
        Query(actors=frozenset({"1001"})),
        Query(actors=frozenset({"daemon"})),
        Query(actions=frozenset({"unusual"}), keys=frozenset({"other", "orders"})),
    ],
)
def test_it_is_found_by_all_that_it_is_about(query: Query) -> None:
    sieve = Sieve(query)
    assert sieve.may_fit(LINE)
    assert sieve.fits(json.loads(LINE))


@pytest.mark.parametrize(
    "query",
    [
        Query(keys=frozenset({"order"})),
        Query(keys=frozenset({"bot"})),
        Query(bundles=frozenset({"orders"})),
        Query(actors=frozenset({"100"})),
        Query(actions=frozenset({"sign"})),
    ],
)
def test_it_is_not_found_by_what_it_is_not_about(query: Query) -> None:
    assert not Sieve(query).fits(json.loads(LINE))


def test_the_number_of_bundles_of_a_configuration_is_no_name() -> None:
    assert not Sieve(Query(bundles=frozenset({"bot"}))).fits({"action": "configure", "bundles": 3})


def test_it_can_be_asked_for() -> None:
    assert ACTION in EVERY
