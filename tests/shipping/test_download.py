"""A copy of the bucket in a directory verifies by what came with it, wherever in the bucket it was begun."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from secretsd.cli.main import run as secretsctl
from secretsd.shipping.manifest import CONTENT
from tests.shipping.bed import HOST, Memory, Shipper
from tests.shipping.chains import Chain
from tests.shipping.test_verification import a_life


@pytest.fixture
def shipper(chain: Chain) -> Shipper:
    return Shipper(chain, Memory(), "below/a/prefix/")


def copied(shipper: Shipper, to: Path) -> Path:
    """As `aws s3 sync` does: the last version of each object is a file."""
    for stored in shipper.memory.versions:
        path = to / stored.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(shipper.memory.read(stored))
    return to


def verified(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, object]]:
    code = secretsctl([*map(str, words), "--json"])
    (chain,) = json.loads(capsys.readouterr().out)["chains"]
    return code, chain


def test_a_copy_is_whole_from_wherever_it_was_made(
    chain: Chain, shipper: Shipper, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_life(chain, shipper)
    copy = copied(shipper, tmp_path / "copy")
    places = [copy, *(path for path in copy.rglob("*") if path.is_dir() and path.name in (HOST, "signer"))]
    assert len(places) == 3, "the whole, a host, a chain"
    for place in places:
        for words in (
            ["audit-restore", place],
            ["log", "--verify", place],
            ["log", "--verify", "--from", place],
        ):
            code, found = verified(capsys, *words)
            assert (code, found["is_whole"], found["last_record"]) == (0, True, chain.head.seq)
            assert found["anchors"]


def test_what_was_altered_in_a_copy_is_found_and_named(
    chain: Chain, shipper: Shipper, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_life(chain, shipper)
    copy = copied(shipper, tmp_path / "copy")
    (first, *_) = sorted(copy.rglob(f"*{CONTENT}"))
    first.write_bytes(b"something else")
    code, found = verified(capsys, "log", "--verify", copy)
    assert code == 65
    assert found["first_bad_record"] == int(first.name.partition("-")[0])


def test_an_end_that_was_cut_off_is_found_by_the_anchors_that_came_with_it(
    chain: Chain, shipper: Shipper, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_life(chain, shipper)
    shipper.anchor(chain.head)
    copy = copied(shipper, tmp_path / "copy")
    *_, last = sorted(copy.rglob(f"*{CONTENT}"))
    (manifest,) = last.parent.glob(f"{last.name.removesuffix(CONTENT)}-*.manifest.json")
    for path in (last, manifest):
        path.unlink()
    for path in copy.rglob("*.json"):
        os.utime(path, (0, 0))  # long ago
    code, found = verified(capsys, "log", "--verify", copy)
    assert code == 65
    assert found["first_bad_record"] == int(last.name.partition("-")[0])


def test_a_place_that_is_none_is_told_with_the_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for words, code, said in (
        (["audit-restore", tmp_path / "empty"], 64, "there is no manifest of a trail in"),
        (
            ["audit-restore", tmp_path / "nothing"],
            64,
            "must be s3://BUCKET/PREFIX, or a directory that is there",
        ),
        (["log", "--verify", "s3://a/b", "s3://c/d"], 64, "one place is verified at a time"),
        (["log", "--verify", "s3://a/b", "--anchor", f"1:{'0' * 64}"], 64, "against its own anchors"),
        (["log", "--verify", "ftp://a/b"], 64, "must be s3://BUCKET/PREFIX"),
    ):
        assert secretsctl(list(map(str, words))) == code
        assert said in " ".join(capsys.readouterr().err.split())
