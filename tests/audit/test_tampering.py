"""Whatever somebody does to a trail is found, and the record is named: on the host, and from S3 alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.audit import tampering
from tests.bench import audit_tampering
from tests.bench.figures import Figure, grid

# With SECRETSD_SOAK=1 (make soak) of a longer trail.
_RECORDS = 60 if os.environ.get("SECRETSD_SOAK") == "1" else 12


def test_each_kind_of_alteration_is_found_and_its_record_named() -> None:
    rows = audit_tampering.run()
    print("", grid(audit_tampering.HEADINGS, [row.cells() for row in rows]), sep="\n")
    assert [each.note for each in audit_tampering.figures(rows) if each.verdict != "met"] == []
    assert {row.named for row in rows if row.deed == "nothing"} == {0}, "a whole trail is found whole"
    # The anchor before the forgery and the one behind it say where it is.
    assert sum("from a record between 121 and 160 on" in row.why for row in rows) == 2


@pytest.fixture(scope="module")
def everywhere() -> list[Figure]:
    return audit_tampering.everywhere(_RECORDS)


@pytest.mark.parametrize("what", range(4), ids=["edited", "dropped", "cut", "computed-anew"])
def test_there_is_no_place_where_an_alteration_is_not_found(everywhere: list[Figure], what: int) -> None:
    print(everywhere[what].cells())
    assert everywhere[what].verdict == "met"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_file_whose_opening_is_gone_is_named_by_the_record_that_it_should_begin_with(
    tmp_path: Path, number: int
) -> None:
    files = tampering.a_trail(tmp_path, 12, 4)
    flaw = tampering.flaw_of(tampering.edited(files, number, 0))
    assert flaw is not None
    assert (flaw.record, flaw.line) == (number * 4 + 1, 1)
