"""What a restart knows of what was told."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from secretsd.errors import LocalIOError
from secretsd.observe.alert_book import read, write
from secretsd.observe.telling import Allowance, Memory, Report, Told, Trouble

TOLD = {Trouble("bot", "bot.service"): Told("not-loaded", "", 17.0, "bot.service has not loaded it")}


def test_it_comes_back_with_its_times_as_the_new_clock_counts_them(tmp_path: Path) -> None:
    write(tmp_path, Memory(TOLD, {"bot": Allowance(2.5, 100.0)}), wall=1_000_000.0, monotonic=160.0)
    after = read(tmp_path, wall=1_000_600.0, monotonic=5.0)  # a reboot and ten minutes later
    assert after == Memory(TOLD, {"bot": Allowance(2.5, 5.0 - 660.0)})


def test_a_clock_that_was_set_back_gives_nothing_away(tmp_path: Path) -> None:
    write(tmp_path, Memory(TOLD, {"bot": Allowance(0.5, 100.0)}), wall=1_000_000.0, monotonic=100.0)
    assert read(tmp_path, wall=5.0, monotonic=7.0).allowances == {"bot": Allowance(0.5, 7.0)}


def test_it_is_nobody_elses(tmp_path: Path) -> None:
    write(tmp_path, Memory(), wall=0.0, monotonic=0.0)
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_none_is_a_fresh_one(tmp_path: Path) -> None:
    assert read(tmp_path, wall=0.0, monotonic=0.0) == Memory()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"schema": 2}', '{"schema": 1, "told": [1]}'])
def test_damage_is_said_and_not_believed(tmp_path: Path, damage: str) -> None:
    (tmp_path / "alerts.json").write_text(damage)
    with pytest.raises(LocalIOError, match="damaged"):
        read(tmp_path, wall=0.0, monotonic=0.0)


def test_what_waits_to_be_told_comes_back_and_an_older_book_has_none(tmp_path: Path) -> None:
    waiting = Report("probe", "uid 1 has asked for 5 names", "find out who that is", 17.0)
    write(tmp_path, Memory(reports=(waiting,)), wall=0.0, monotonic=0.0)
    assert read(tmp_path, wall=0.0, monotonic=0.0).reports == (waiting,)
    path = tmp_path / "alerts.json"
    document = json.loads(path.read_text())
    del document["reports"]
    path.write_text(json.dumps(document))
    assert read(tmp_path, wall=0.0, monotonic=0.0) == Memory()


def test_an_event_that_nobody_knows_is_damage(tmp_path: Path) -> None:
    write(tmp_path, Memory(TOLD), wall=0.0, monotonic=0.0)
    path = tmp_path / "alerts.json"
    document = json.loads(path.read_text())
    document["told"][0]["event"] = "exploded"
    path.write_text(json.dumps(document))
    with pytest.raises(LocalIOError, match="damaged"):
        read(tmp_path, wall=0.0, monotonic=0.0)


def test_a_disk_that_takes_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(LocalIOError, match="cannot write"):
        write(tmp_path / "gone", Memory(), wall=0.0, monotonic=0.0)
