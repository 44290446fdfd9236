"""What is read of a trail is what fits, once, however its files change meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from secretsd.audit import reading, record
from secretsd.audit.query import Query, Sieve
from secretsd.audit.reading import Entry
from tests.audit.trails import OPERATOR, Writer, at, fetched, published, signatures


class Lines:
    """Counts the lines and blocks that are looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        may_fit = Sieve.may_fit

        def counted(sieve: Sieve, lines: bytes) -> bool:
            self.count += lines.count(b"\n")
            return may_fit(sieve, lines)

        monkeypatch.setattr(Sieve, "may_fit", counted)


def told(directory: Path, query: Query) -> list[object]:
    return [
        entry.record.get("secret", entry.record["action"]) for entry in reading.entries([directory], query)
    ]


def until_quiet(following: Iterator[Entry | None]) -> list[object]:
    """What comes until there is nothing more for now."""
    return [entry.record["secret"] for entry in iter(lambda: next(following), None)]


def test_follow_goes_on_where_it_was_over_a_rotation_and_reads_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_POLL_S", 0.0)
    writer, lines = Writer(tmp_path, "refresher", per_file=100), Lines(monkeypatch)
    writer.add(0, *(fetched(f"old-{number}") for number in range(950)))
    following = reading.follow([tmp_path], Query())
    assert len(until_quiet(following)) == 950
    assert lines.count > 950, "what is read is counted"
    lines.count = 0
    for number in range(500):
        writer.add(1, fetched(f"new-{number}"))
        if number % 60 == 0:
            until_quiet(following)
    until_quiet(following)
    assert len(list(tmp_path.iterdir())) == 15
    assert lines.count <= 2 * (500 + 15), "each line once, as part of its block and alone"


def test_follow_shows_each_record_once_over_rotations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_POLL_S", 0.0)
    writer, seen = Writer(tmp_path, "refresher", per_file=7), list[object]()
    following = reading.follow([tmp_path], Query())
    for number in range(100):
        writer.add(1, fetched(f"new-{number}"))
        if number % 9 == 0:
            seen += until_quiet(following)
    seen += until_quiet(following)
    assert seen == [f"new-{number}" for number in range(100)]


def test_a_chain_that_is_begun_anew_is_read_from_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_POLL_S", 0.0)
    Writer(tmp_path, "refresher").add(0, *(fetched(f"old-{number}") for number in range(9)))
    following = reading.follow([tmp_path], Query())
    assert len(until_quiet(following)) == 9
    (tmp_path / "refresher.jsonl").unlink()
    Writer(tmp_path, "refresher", begun=5).add(5, *(fetched(f"new-{number}") for number in range(12)))
    assert until_quiet(following) == [f"new-{number}" for number in range(12)]


def test_files_that_are_too_old_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, lines = Writer(tmp_path, "refresher", per_file=100), Lines(monkeypatch)
    for minute in range(60):
        writer.add(minute, *(fetched(f"secret-{minute}") for _ in range(50)))
    assert told(tmp_path, Query(since=at(58))) == ["secret-58"] * 50 + ["secret-59"] * 50
    assert 0 < lines.count <= 2 * 301
    lines.count = 0
    assert len(told(tmp_path, Query())) == 3000
    assert lines.count > 3000, "without a time all is read"


def test_no_record_is_lost_where_the_clock_was_set_back(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "refresher", per_file=10)
    writer.add(0, *(fetched("first") for _ in range(10)))
    writer.add(50, *(fetched("ahead") for _ in range(10)))
    for minute in range(40):  # corrected: an hour of files that were begun before that
        writer.add(minute, *(fetched("later") for _ in range(10)))
    assert told(tmp_path, Query(since=at(45))) == ["ahead"] * 10


def test_the_reads_of_a_bundle_are_those_of_what_it_was_made_of_then(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "refresher", per_file=4)
    writer.add(0, fetched("a"), fetched("b"), published("bot", 1, "a"), published("other", 1, "b"))
    writer.add(1, fetched("b"), fetched("c"), published("bot", 2, "c"))
    again = {"source": "aws", "count": 2, "secrets": ["b", "c"]}
    writer.add(2, record.event("refetch", details=again))
    writer.add(3, record.event("refetch", details={**again, "source": "another"}))
    bot = frozenset({"bot"})
    assert told(tmp_path, Query(bot)) == ["a", "publish", "c", "publish", "refetch"]
    assert told(tmp_path, Query(bot, since=at(2))) == ["refetch"], "known from before that"
    assert told(tmp_path, Query(frozenset({"other"}))) == ["b", "publish", "b", "refetch"]
    assert told(tmp_path, Query(bot, actions=frozenset({"fetch"}))) == ["a", "c"]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        (Query(actors=frozenset({"1001"})), 4),
        (Query(actors=frozenset({"0"})), 2),
        (Query(actors=frozenset({"0", "trading-bot.service"})), 6),
        (Query(actors=frozenset({"100"})), 0),
        (Query(keys=frozenset({"ordres"})), 0),
        (Query(keys=frozenset({'or"d\u00e9rs', "orders"})), 6),
        (Query(secrets=frozenset({"pro\u00f6d/\u4e00"})), 1),
    ],
)
def test_what_is_skipped_unparsed_is_what_does_not_fit(tmp_path: Path, query: Query, count: int) -> None:
    writer = Writer(tmp_path, "refresher")
    writer.add(0, *signatures("orders", [1]), *signatures('or"d\u00e9rs', [2]), fetched("pro\u00f6d/\u4e00"))
    writer.add(0, *signatures("orders", [3], OPERATOR))
    assert len(list(reading.entries([tmp_path], query))) == count


def test_a_line_that_is_longer_than_a_block_is_read_over(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "refresher")
    writer.add(0, fetched("a"))
    with writer.path.open("ab") as file:
        file.write(b"\0" * 3_000_000 + b"\n")
    writer.add(1, fetched("b"))
    with writer.path.open("ab") as file:
        file.write(b'{"seq":3,"ti')
    assert told(tmp_path, Query()) == ["a", "b"]


def test_a_torn_record_does_not_hide_the_one_that_has_its_number(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "refresher")
    writer.add(0, fetched("before"))
    whole = writer.path.read_bytes()
    writer.add(1, fetched("after"))
    record_2 = writer.path.read_bytes().removeprefix(whole)
    for cut in range(1, len(record_2) - 1):
        writer.path.write_bytes(whole + record_2[:cut] + b"\n" + record_2)
        assert told(tmp_path, Query())[:2] == ["before", "after"], cut


@pytest.mark.parametrize(
    "members",
    [
        '"action":["fetch"],"result":{},"secrets":7,"actor":{"uid":{}}',
        '"action":"publish","bundle":"bot","generation":1,"secrets":[7]',
        f'"action":"fetch","bundle":{"[" * 5000}{"]" * 5000}',
        '"action":"fetch",no JSON at all',
    ],
)
def test_a_record_that_no_daemon_writes_hides_none_behind_it(tmp_path: Path, members: str) -> None:
    writer = Writer(tmp_path, "refresher")
    writer.add(0, members, published("bot", 1, "s"), fetched("s"))
    queries = [
        {},
        {"bundles": frozenset({"bot"})},
        {"secrets": frozenset({"s"})},
        {"actions": frozenset({"fetch"})},
        {"results": frozenset({"ok"})},
    ]
    for query in queries:
        assert told(tmp_path, Query(**query))[-1] == "s"
