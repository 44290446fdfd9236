"""The publish step killed, or met by an error, at each of its system calls: old or new, never in between."""

from __future__ import annotations

import os

import pytest

from tests.bench import injection, publish_faults

# With SECRETSD_SOAK=1 (make soak) every case, else a sample that is the same each time.
EVERY = 1 if os.environ.get("SECRETSD_SOAK") == "1" else 8


@pytest.fixture(autouse=True)
def can_inject() -> None:
    if (reason := injection.missing()) is not None:
        pytest.skip(reason)


def test_a_fault_at_any_system_call_of_a_publish_leaves_the_old_bundle_or_the_new(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = publish_faults.run(every=EVERY)
    with capsys.disabled():
        print("", *report.lines(), sep="\n")
    assert report.findings == []
    # Killed, refused, published all the same: were one of them missing, nothing would have been injected.
    assert len(report.outcomes) >= 3
    matrix = sum(map(len, report.calls.values())) * len(injection.FAULTS)
    assert report.cases == -(-matrix // EVERY)
