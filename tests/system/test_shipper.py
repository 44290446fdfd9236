"""secretsd-shipper as it is installed: the trails go to the journal and to S3."""

from __future__ import annotations

import json
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
from tests.system.test_monitoring import get_page

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


_ASK = """
import socket, sys
for _ in range(int(sys.argv[1])):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("/run/secretsd-signer/signer.sock")
        body = b'{"input": "ZmFrZQ=="}'
        head = b"POST /v1/transit/sign/demo HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n"
        head += b"Content-Length: %d\\r\\n\\r\\n"
        connection.sendall(head % len(body) + body)
        while connection.recv(65536):
            pass
"""


def test_monitors_read_it_and_nobody_else_and_a_bad_configuration_changes_nothing(lab: Lab) -> None:
    host = lab.host
    trails.ship(lab)
    eventually(lambda: trails.journal_has_all(lab), "the journal has every record")
    host.sh("useradd --system --groups secretsd-metrics prometheus; useradd --system stranger")
    address = "/run/secretsd-shipper/metrics.sock"
    eventually(
        lambda: get_page(host, address, "/readyz", user="prometheus")[0] == 200, "it serves its health"
    )
    status, page = get_page(host, address, "/metrics", user="prometheus")
    assert status == 200
    assert re.search(r'^secretsd_shipper_records_total\{.*chain="signer".*\} [1-9]', page, re.MULTILINE), page
    status, sentence = get_page(host, address, "/metrics", user="stranger")
    assert status == 403
    assert "secretsd-metrics" in sentence
    shown = json.loads(host.run(["secretsctl", "health", "--json"], user="prometheus").stdout)
    assert {each["daemon"]: each["state"] for each in shown["daemons"]}["shipper"] == "ready"

    before = host.show(trails.UNIT, "MainPID")
    host.put("/etc/secretsd/conf.d/bad.toml", '[audit.s3]\nbucket = "Not A Bucket"\n')
    assert host.systemctl("reload", trails.UNIT, check=False).returncode != 0
    host.systemctl("kill", "--signal=HUP", trails.UNIT)
    eventually(lambda: "stays as it was" in host.sh(f"journalctl -u {trails.UNIT} -o cat"), "it is told")
    _sign(lab, 2)
    eventually(lambda: trails.journal_has_all(lab), "records go on to the journal")
    host.run(["rm", "/etc/secretsd/conf.d/bad.toml"])
    host.systemctl("reload", trails.UNIT)
    eventually(lambda: get_page(host, address, "/readyz")[1].strip() == "ready", "it is well again")
    assert host.show(trails.UNIT, "MainPID") == before

    host.systemctl("stop", trails.UNIT)
    done = host.run(["secretsctl", "health", "--json"], user="prometheus")
    (shipper,) = [each for each in json.loads(done.stdout)["daemons"] if each["daemon"] == "shipper"]
    assert shipper["state"] == "degraded"
    assert "systemctl status secretsd-shipper" in shipper["checks"][0]["fix"]


def test_a_full_file_goes_when_the_sinks_have_it_and_stays_while_nothing_is_known(lab: Lab) -> None:
    host = lab.host
    host.put(
        "/etc/secretsd/conf.d/keep.toml", '[audit]\nkeep = "1s"\nmax_file_size = "1M"\n[audit.journal]\n'
    )
    host.systemctl("reload", "secretsd-signer")
    host.run(["python3", "-c", _ASK, "4000"], timeout_s=300)
    full = "ls /var/lib/secretsd-signer/audit/signer-*.jsonl 2>/dev/null || true"
    eventually(lambda: host.sh(full) != "", "a file is full", timeout_s=30)
    first = host.sh(full).split()[0]
    host.systemctl("restart", "secretsd-signer")
    said = "journalctl -u secretsd-signer -o cat"
    eventually(
        lambda: "not known what journal has" in host.sh(said), "it is told that it stays", timeout_s=90
    )
    assert first in host.sh(full)
    host.systemctl("enable", "--now", trails.UNIT)
    eventually(lambda: trails.has_all(lab, ["journal"]), "all is shipped", timeout_s=120)
    host.systemctl("restart", "secretsd-signer")
    eventually(lambda: first not in host.sh(full), "it is removed", timeout_s=90)
    verified = host.run(["secretsctl", "log", "--verify"], check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    pruned = "journalctl SECRETSD_ACTION=prune -o cat --output-fields=MESSAGE"
    eventually(lambda: Path(first).name in host.sh(pruned), "the removal is in the journal, too")


@on_bookworm
def test_without_s3_and_journald_all_goes_on_and_the_trail_is_restored_from_s3_alone_afterwards(
    bare: Lab,
) -> None:
    found = audit_outage.figures(audit_outage.survive(bare, _MINUTES), _MINUTES)
    print("", table(found), sep="\n")
    # A time is for the figures: a sample shares its machine.
    assert [each for each in found if each.verdict == "missed" and (each.exactly or each.at_least)] == []
