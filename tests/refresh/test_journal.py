from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secretsd.errors import ExitCode, LocalIOError
from secretsd.refresh import journal
from secretsd.refresh.journal import Entry

ENTRIES = {
    "bot": Entry(7, {"bot.service": 6, "b@x.service": 7}, restarts={"bot.service": (1.5, 2.5)}),
    "new": Entry(),
}


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    journal.write(tmp_path, ENTRIES)
    assert journal.read(tmp_path) == ENTRIES


def test_a_journal_of_a_version_that_counted_no_restarts_is_read(tmp_path: Path) -> None:
    entry = {"generation": 7, "loaded": {"bot.service": 6}, "failed": {}}
    (tmp_path / "journal.json").write_text(json.dumps({"schema": 1, "bundles": {"bot": entry}}))
    assert journal.read(tmp_path) == {"bot": Entry(7, {"bot.service": 6})}


def test_no_journal_is_an_empty_one(tmp_path: Path) -> None:
    assert journal.read(tmp_path) == {}


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"null", b"[]", b"1", b"{}", b'{"schema": 2, "bundles": {}}', b'{"schema": 1}',
        b"\xff\xfe",
        b'{"schema": 1, "bundles": []}', b'{"schema": 1, "bundles": {"bot": 3}}',
        b'{"schema": 1, "bundles": {"bot": {}}}',
        b'{"schema": 1, "bundles": {"bot": {"generation": "x", "loaded": {}}}}',
        b'{"schema": 1, "bundles": {"bot": {"generation": Infinity, "loaded": {}}}}',
        b'{"schema": 1, "bundles": {"bot": {"generation": 1, "loaded": []}}}',
        b'{"schema": 1, "bundles": {"bot": {"generation": 1, "loaded": {"u": null}}}}',
        b'{"schema": 1, "bundles": {"bot": {"generation": 1, "loaded": {}, "failed": {}, "restarts": []}}}',
        b'{"schema": 1, "bundles": {"b": {"generation":1,"loaded": {}, "failed": {},"restarts": {"u":3}}}}',
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_damaged_journal_is_told_with_what_to_do_and_never_believed(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "journal.json").write_bytes(text)
    with pytest.raises(
        LocalIOError, match=r"cannot read the journal .*journal\.json: it is damaged"
    ) as caught:
        journal.read(tmp_path)
    assert caught.value.exit_code is ExitCode.IO
    assert "journal.json.unreadable" in caught.value.advice


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400), flipped=st.integers(0, 255))
def test_a_torn_journal_is_either_whole_or_refused(tmp_path: Path, cut: int, flipped: int) -> None:
    journal.write(tmp_path, ENTRIES)
    whole = (tmp_path / "journal.json").read_bytes()
    place = min(cut, len(whole) - 1)
    for damaged in (whole[:cut], whole[:place] + bytes([flipped]) + whole[place + 1 :]):
        (tmp_path / "journal.json").write_bytes(damaged)
        try:
            entries = journal.read(tmp_path)
        except LocalIOError:
            continue
        assert all(isinstance(entry.generation, int) for entry in entries.values())


def test_an_unreadable_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / "journal.json").mkdir()
    with pytest.raises(LocalIOError, match="Is a directory"):
        journal.read(tmp_path)


def test_a_journal_that_cannot_be_written_says_why_and_what_follows(tmp_path: Path) -> None:
    with pytest.raises(LocalIOError, match=r"cannot write the journal in .*: No such file") as caught:
        journal.write(tmp_path / "missing", ENTRIES)
    assert "twice" in caught.value.advice


@pytest.mark.parametrize("call", ["fdatasync", "replace"])
def test_a_write_that_fails_half_way_leaves_the_old_journal_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    journal.write(tmp_path, ENTRIES)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(LocalIOError, match="No space left"):
        journal.write(tmp_path, {})
    assert journal.read(tmp_path) == ENTRIES
    assert os.listdir(tmp_path) == ["journal.json"]


def test_the_journal_is_on_the_disk_before_it_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    for name in ("fdatasync", "replace", "fsync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, n=name, real=real: (order.append(n), real(*args))[1])
    journal.write(tmp_path, ENTRIES)
    assert order == ["fdatasync", "replace", "fsync"]


def test_a_link_planted_in_its_place_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "journal.json.new").symlink_to(victim)
    with pytest.raises(LocalIOError):
        journal.write(tmp_path, ENTRIES)
    journal.write(tmp_path, ENTRIES)
    assert victim.read_text() == "untouched"
    assert journal.read(tmp_path) == ENTRIES


def test_the_journal_is_the_daemons_own(tmp_path: Path) -> None:
    journal.write(tmp_path, ENTRIES)
    assert stat.S_IMODE((tmp_path / "journal.json").stat().st_mode) == 0o600
    assert json.loads((tmp_path / "journal.json").read_bytes())["schema"] == 1
