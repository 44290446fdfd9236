"""secretsd-shipper as it is installed: the trails go to the journal and to S3."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import audit_outage
from tests.bench.figures import table
from tests.lab.aws import FakeAws
from tests.lab.lab import Lab
from tests.system import trails
from tests.system.machine import eventually, on_bookworm

pytestmark = pytest.mark.system

MOST_EXPOSURE = 1.5
# With SECRETSD_SOAK=1 (make soak) an hour, else enough for a kill in the middle.
_MINUTES = audit_outage.MINUTES if os.environ.get("SECRETSD_SOAK") == "1" else 6


@pytest.fixture
def bare(suite: str, aws: FakeAws, deb: Path) -> Iterator[Lab]:
    """A machine with the package and nothing else."""
    with Lab(suite, aws, deb=deb) as lab:
        yield lab


@pytest.fixture
def lab(bare: Lab) -> Lab:
    """One that has a signer with a token of SoftHSM, too."""
    trails.make_key(bare)
    return bare


def _sign(lab: Lab, times: int) -> None:
    lab.host.sh(f"for n in $(seq {times}); do echo buy | secretsctl sign demo >/dev/null; done")


def test_it_is_started_by_nobody_and_without_a_sink_it_ends_well(lab: Lab) -> None:
    host = lab.host
    assert host.systemctl("is-enabled", trails.UNIT, check=False).stdout == "disabled\n"
    assert host.show(trails.UNIT, "ActiveState") == "inactive"
    host.systemctl("start", trails.UNIT)
    eventually(lambda: host.show(trails.UNIT, "ActiveState") == "inactive", "it ends")
    assert (host.show(trails.UNIT, "Result"), host.show(trails.UNIT, "NRestarts")) == ("success", "0")
    assert "nothing to do" in host.sh(f"journalctl -u {trails.UNIT} -o cat")


def test_records_are_in_the_journal_within_seconds_and_the_sandbox_is_closed(lab: Lab) -> None:
    trails.ship(lab)
    _sign(lab, 10)
    eventually(lambda: trails.journal_has_all(lab), "the journal has every record")
    refreshers = "journalctl SECRETSD_CHAIN=refresher -o cat --output-fields=SECRETSD_SEQ"
    eventually(lambda: "1" in lab.host.sh(refreshers).split(), "the refresher's records are there, too")
    anchors = "journalctl MESSAGE_ID=77fcbe44f08744878d3f5be2c77cb6da -o json --output-fields=SECRETSD_ANCHOR"
    assert lab.host.sh(anchors).count("SECRETSD_ANCHOR") >= 1
    host, pid = lab.host, lab.host.show(trails.UNIT, "MainPID")
    printed = host.run(["systemd-analyze", "security", "--no-pager", f"{trails.UNIT}.service"]).stdout
    exposure = re.search(rf"Overall exposure level for {trails.UNIT}.service: ([0-9.]+)", printed)
    assert exposure is not None, printed
    assert float(exposure[1]) <= MOST_EXPOSURE, printed
    assert "CapEff:\t0000000000000000" in host.read(f"/proc/{pid}/status")
    assert "Uid:\t0" not in host.read(f"/proc/{pid}/status")
    doctor = host.run(["secretsctl", "doctor"], check=False).stdout
    assert re.search(r"^ok +shipper journal", doctor, re.MULTILINE), doctor


@on_bookworm
def test_without_s3_and_journald_all_goes_on_and_the_trail_is_restored_from_s3_alone_afterwards(
    bare: Lab,
) -> None:
    found = audit_outage.figures(audit_outage.survive(bare, _MINUTES), _MINUTES)
    print("", table(found), sep="\n")
    # A time is for the figures: a sample shares its machine.
    assert [each for each in found if each.verdict == "missed" and (each.exactly or each.at_least)] == []
