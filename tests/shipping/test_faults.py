"""Faults of the shipper: a sample, or with SECRETSD_SOAK=1 (make soak) all of bench/audit_shipper.py."""

from __future__ import annotations

import os

import pytest

from tests.bench import audit_shipper, injection
from tests.bench.figures import grid

_SOAK = os.environ.get("SECRETSD_SOAK") == "1"


def test_a_fault_of_the_shipper_loses_no_record() -> None:
    if (reason := injection.missing()) is not None:
        pytest.skip(reason)
    sample = ([audit_shipper.DISK_FULL], 3.0)
    rows = audit_shipper.run(*((audit_shipper.FAULTS, audit_shipper.FAULT_S) if _SOAK else sample))
    print("", grid(audit_shipper.HEADINGS, [row.cells() for row in rows]), sep="\n")
    assert [each for each in audit_shipper.figures(rows) if each.verdict != "met"] == []
    (full,) = (row for row in rows if row.fault == audit_shipper.DISK_FULL)
    assert full.journal_shipped < full.written, "the fault has struck"
