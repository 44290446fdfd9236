"""What `secretsctl log` is asked, and how it answers on a narrow terminal."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from secretsd.audit import actions, record
from secretsd.cli.screens.trail import line
from secretsd.cli.text import View
from secretsd.control import recording
from tests.audit.trails import OPERATOR, Writer, fetched
from tests.cli.test_trail import Trails, trails

__all__ = ["trails"]
_ROOT = Path(__file__).resolve().parents[2]
_WRITERS = re.compile(r'(?:_event|record\.event|_trail\.event|self\._failed|Deed)\(\s*(?:peer, )?"([a-z-]+)"')


def written() -> set[str]:
    """The actions that the code puts on record by their names."""
    texts = [path.read_text(encoding="utf-8") for path in (_ROOT / "secretsd").rglob("*.py")]
    return {name for text in texts for name in _WRITERS.findall(text)} | recording.EVERY


def test_every_action_that_is_written_can_be_asked_for_and_is_documented() -> None:
    assert len(written()) > 20, "the check finds what is there"
    assert written() <= actions.EVERY
    document = (_ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    assert {action for action in actions.EVERY if f"`{action}`" not in document} == set()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--action", "publsh"], "no record has the action 'publsh'; perhaps publish"),
        (["--action", "zzz"], "no record has the action 'zzz'; there are: ack, "),
        (["--action", "a\x1b[2J"], "no record has the action 'a\\x1b[2J'"),
        (["--since", "yesterday"], "must be a span before now (2h, 7d) or a time (2026-03-01"),
        (["--until", "2026-13-01"], "must be a span before now (2h, 7d) or a time (2026-03-01"),
        (["--result", "good"], "'good' is none of ok, refused, failed"),
        (["--since", "2h", "--until", "3h"], "--since is not before --until"),
        (["--verify", "--action", "hold"], "--verify looks at all records: leave the filters out"),
        (["--from", "no-such-directory"], "no-such-directory cannot be read: No such file"),
    ],
)
def test_a_question_that_cannot_be_meant_is_told_with_the_fix(
    trails: Trails, words: list[str], said: str
) -> None:
    code, text = trails.run("log", *words)
    assert code == (74 if "--from" in words else 64)
    assert said in " ".join(text.split())


def test_a_trail_from_elsewhere_is_searched_like_this_host_s_own(trails: Trails, tmp_path: Path) -> None:
    for host in ("trading-1", "trading-2"):
        Writer(tmp_path / "trail" / host, "refresher", host=host).add(5, fetched(f"of-{host}"))
    told = trails.records("--from", tmp_path / "trail", "--action", "fetch")
    assert [(each["host"], each["daemon"], each["secret"]) for each in told] == [
        ("trading-1", "refresher", "of-trading-1"),
        ("trading-2", "refresher", "of-trading-2"),
    ]
    one, two = tmp_path / "trail/trading-1", tmp_path / "trail/trading-2"
    assert len(trails.records("--from", one, "--from", two)) == 2
    assert trails.records("--from", one)[0]["host"] == "trading-1"
    code, chains = trails.verified("--from", one, "--from", two)
    assert (code, len(chains)) == (0, 2)


def test_the_host_of_a_record_is_told_to_programs(trails: Trails) -> None:
    assert {each["host"] for each in trails.records()} == {"fake-host"}


def test_an_answer_without_a_record_says_so_to_people_alone(trails: Trails) -> None:
    code, text = trails.run("log", "--key", "mistyped")
    assert (code, text.partition(":")[0]) == (0, "no record fits")
    assert trails.run("log", "--key", "mistyped", "--json") == (0, "")


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_record_is_broken_between_words_where_the_terminal_ends(columns: int) -> None:
    secrets = [{"source": "aws", "secret": f"prod/bot/{n}", "version_id": "v1"} for n in range(5)]
    said = {"bundle": "bot", "generation": 41, "why": "the source has a newer version", "secrets": secrets}
    members = {"time": "2026-03-01T12:00:00.123456Z", "action": "publish", "actor": "daemon", **said}
    view = View(datetime.now(UTC), columns, color=True)
    text = line({**members, "phase": "outcome", "result": "failed", "reason": "worker-lost"}, view)
    shown = text.replace("\x1b[31m", "").replace("\x1b[0m", "")
    assert max(map(len, shown.split("\n"))) <= columns
    assert all(part.startswith("    ") for part in shown.split("\n")[1:])
    assert text.endswith("\x1b[31mfailed (worker-lost)\x1b[0m")
    assert " ".join(shown.split()) == " ".join(
        line({**members, "result": "failed", "reason": "worker-lost"}, View(datetime.now(UTC))).split()
    )


def test_for_a_pipe_a_record_is_one_line(trails: Trails) -> None:
    trails.refresher.add(9, record.event("drift", OPERATOR, details={"bundle": "b", "what": ["word " * 60]}))
    _, text = trails.run("log")
    assert len(text.splitlines()) == 7 + 6 + 1
