"""Who uses what: nothing that is used counts as unused."""

from __future__ import annotations

import json

from secretsd.audit import record
from secretsd.audit.usage import Usage, last
from tests.audit.trails import OPERATOR, at, fetched, notified, published, signatures


def usage_of(*records: str) -> Usage:
    """Each a minute after the one before."""
    usage = Usage()
    for minute, members in enumerate(records):
        usage.add("host", "signer", json.loads(f'{{"time":"{at(minute)}",{members}}}'))
    return usage


def test_a_key_is_used_by_units_and_by_users_outside_of_units() -> None:
    usage = usage_of(*signatures("orders", [1, 2]), *signatures("orders", [3], OPERATOR))
    assert {who: use.count for who, use in usage.keys["orders"].items()} == {
        "trading-bot.service": 2,
        "uid 0": 1,
    }
    assert usage.keys["orders"]["trading-bot.service"].last == at(3)


def test_what_was_refused_or_has_failed_is_no_use() -> None:
    use = record.use("sign", "orders", "sha2-256", OPERATOR)
    usage = usage_of(record.outcome(use, 1, 0, "refused", "not-allowed"), record.intent(use, 2, 1))
    assert not usage.keys


def test_a_secret_is_used_by_the_units_that_have_loaded_what_was_made_of_it() -> None:
    again = {"source": "aws", "count": 1, "secrets": ["a"]}
    usage = usage_of(
        fetched("a"),
        published("bot", 1, "a"),
        notified("bot", 1, "bot.service"),
        record.event("refetch", details=again),
        published("bot", 2, "a", "b"),
        notified("bot", 2, "bot.service"),
        notified("bot", 2, "other.service", "waiting"),
    )
    used = usage.secrets["aws", "a"]
    assert (used.reads.count, used.reads.last, used.bundles) == (2, at(3), {"bot"})
    assert {unit: (use.count, use.last) for unit, use in used.units.items()} == {"bot.service": (2, at(5))}
    assert usage.secrets["aws", "b"].units["bot.service"].count == 1


def test_a_unit_that_was_not_running_is_named_until_it_is_found_to_have_loaded_it() -> None:
    found_off = (published("bot", 1, "a"), notified("bot", 1, "bot.service", "inactive"))
    usage = usage_of(*found_off)
    assert usage.secrets["aws", "a"].not_running == {"bot.service"}, "it may run by now: not a mere nobody"
    assert not usage.secrets["aws", "a"].units
    usage = usage_of(*found_off, notified("bot", 1, "bot.service", "current"))
    assert usage.secrets["aws", "a"].not_running == set()


def test_unused_is_what_nobody_has_used_since_and_what_nobody_has_ever_used() -> None:
    usage = usage_of(
        fetched("a"),
        published("bot", 1, "a"),
        notified("bot", 1, "bot.service"),
        *signatures("orders", [1]),
        fetched("b"),
    )
    usage.expect(["orders", "cold"], {"bot": [("aws", "a")], "other": [("aws", "never")]})
    assert usage.unused(at(0)) == (["cold"], [("aws", "b"), ("aws", "never")])
    assert usage.unused(at(60)) == (["cold", "orders"], [("aws", "b"), ("aws", "never")]), (
        "a unit still has a"
    )
    assert last(usage.keys["cold"]) == ""


def removed(bundle: str) -> str:
    return record.event("remove", details={"bundle": bundle, "why": "it is not configured"})


def test_a_unit_has_a_secret_until_it_loads_a_generation_without_it_or_the_bundle_is_removed() -> None:
    usage = usage_of(
        published("bot", 1, "a", "b", "c"),
        notified("bot", 1, "bot.service"),
        published("bot", 2, "b", "c"),
        published("other", 1, "c"),
        notified("other", 1, "bot.service"),
        notified("bot", 2, "bot.service"),
        removed("bot"),
    )
    a, b, c = (usage.secrets["aws", name].units["bot.service"] for name in "abc")
    assert (a.goes_on, a.last) == (False, at(5)), "until then it had it"
    assert (b.goes_on, b.last) == (False, at(6))
    assert c.goes_on, "by the other bundle"
    assert usage.unused(at(6)) == ([], [("aws", "a")])
    assert usage.unused(at(60)) == ([], [("aws", "a"), ("aws", "b")])


def test_what_was_loaded_is_known_where_the_record_of_its_publish_is_gone() -> None:
    usage = Usage()
    usage.expect([], {"bot": [("aws", "a")]})
    lines = [(notified("bot", 7, "bot.service"), 1), (notified("gone", 7, "bot.service"), 2)]
    lines += [(published("third", 9, "c"), 3), (notified("third", 8, "bot.service"), 4)]
    for members, minute in lines:
        usage.add("host", "refresher", json.loads(f'{{"time":"{at(minute)}",{members}}}'))
    assert usage.secrets["aws", "a"].units["bot.service"].goes_on, "the configuration tells"
    assert usage.secrets["aws", "c"].units["bot.service"].goes_on, "another generation tells"
    assert usage.unknown == {"gone"}


def test_hosts_do_not_mix_their_generations_and_the_youngest_trail_tells_what_is_known() -> None:
    usage = Usage()
    for host, secret, minute in (("one", "a", 1), ("two", "b", 5)):
        for members in (published("bot", 1, secret), notified("bot", 1, f"{host}.service")):
            usage.add(host, "refresher", json.loads(f'{{"time":"{at(minute)}",{members}}}'))
    assert set(usage.secrets["aws", "a"].units) == {"one.service"}
    assert set(usage.secrets["aws", "b"].units) == {"two.service"}
    assert (usage.since("refresher"), usage.since("signer")) == (at(5), None)


def test_a_clock_that_was_set_back_makes_no_last_use_earlier() -> None:
    usage = Usage()
    for minute, members in [(9, signatures("orders", [1])[1]), (3, signatures("orders", [2])[1])]:
        usage.add("host", "signer", json.loads(f'{{"time":"{at(minute)}",{members}}}'))
    assert usage.keys["orders"]["trading-bot.service"].last == at(9)
    assert usage.since("signer") == at(3)
