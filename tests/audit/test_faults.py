"""What becomes of a trail's disk stops what must be on record, and nothing else; nothing answered is lost."""

from __future__ import annotations

import os

import pytest

from tests.audit.subjects import signatures_lost
from tests.bench import audit_faults, injection
from tests.bench.figures import grid

# With SECRETSD_SOAK=1 (make soak) as often as for the figures.
_ASKED = audit_faults.ASKED if os.environ.get("SECRETSD_SOAK") == "1" else 12  # more than a page has room for


def test_a_fault_of_the_disk_loses_no_answer_of_ours_and_stops_only_what_must_be_on_record() -> None:
    if (reason := injection.missing()) is not None:
        pytest.skip(reason)
    rows = audit_faults.run(_ASKED)
    print("", grid(audit_faults.HEADINGS, [row.cells() for row in rows]), sep="\n")
    missed = [each for each in audit_faults.figures(rows) if each.exactly and each.verdict != "met"]
    assert missed == []
    ours = [row for row in rows if row.is_ours]
    assert {row.went_on for row in ours} == {"with a batched key: 10 of 10", "a rotated secret was published"}
    # A file that was removed is put back: nothing need be refused. No other fault lets all of it through.
    assert {row.fault for row in ours if row.done == row.asked} == {audit_faults.UNLINKED}
    assert sum(row.held.lost for row in rows if not row.is_ours) > 0, (
        "the check finds losses where there are some"
    )


@pytest.mark.parametrize(
    ("records", "lost"),
    [
        ([(1, None), (1, "ok"), (2, None), (2, "ok")], 0),
        ([(1, None), (1, "ok"), (2, None)], 1),
        ([(1, "ok"), (2, None), (2, "ok")], 1),
        ([(1, None), (1, "ok")], 2),
    ],
)
def test_a_signature_without_its_record_is_found(records: list[tuple[int, str | None]], lost: int) -> None:
    found = [{"action": "hmac", "request": number, "result": result} for number, result in records]
    assert signatures_lost(found, [True, True]) == lost
