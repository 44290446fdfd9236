"""secretsd-shipper as it is installed: a signer's trail goes to the journal and to S3."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secretsd.cli.main import run as secretsctl
from tests.lab.aws import REGION, FakeAws
from tests.lab.lab import Lab
from tests.shipping.conftest import BUCKET, client
from tests.shipping.strict_s3 import StrictS3
from tests.system.machine import eventually
from tests.system.test_monitoring import get_page

pytestmark = pytest.mark.system

MOST_EXPOSURE = 1.5
AUDIT = "/var/lib/secretsd-signer/audit/signer.jsonl"
_ADDRESS = ("127.0.0.1", 5001)
_UNIT = "secretsd-shipper"


@pytest.fixture
def lab(suite: str, aws: FakeAws, deb: Path) -> Iterator[Lab]:
    """A machine with the package and a signer with a token of SoftHSM."""
    with Lab(suite, aws, deb=deb) as lab:
        lab.host.run(["/usr/libexec/secretsd/setup-softhsm"], timeout_s=120)
        lab.host.run(["secretsctl", "keys", "generate", "demo"])
        yield lab


@pytest.fixture
def s3(lab: Lab) -> Iterator[StrictS3]:
    """The way from the machine to a bucket with Object Lock."""
    client("s3", lab.aws.url).create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    with StrictS3(lab.aws.address, lab.host.network, _ADDRESS) as proxy:
        yield proxy


def _configure(lab: Lab, kms_key: str = "") -> None:
    bucket = f"""
[audit.s3]
bucket = "{BUCKET}"
region = "{REGION}"
endpoint_url = "http://{_ADDRESS[0]}:{_ADDRESS[1]}"
kms_key = "{kms_key}"
batch_age = "1s"
"""
    lab.host.put("/etc/secretsd/conf.d/audit.toml", "[audit.journal]\n" + (bucket if kms_key else ""))
    lab.host.systemctl("enable", "--now", _UNIT)


def _sign(lab: Lab, times: int) -> None:
    lab.host.sh(f"for n in $(seq {times}); do echo buy | secretsctl sign demo >/dev/null; done")


def _last(lab: Lab) -> dict[str, Any]:
    """The last record of the trail."""
    found: dict[str, Any] = json.loads(lab.host.run(["tail", "-n", "1", AUDIT]).stdout)
    return found


def _in_journal(lab: Lab) -> list[int]:
    command = "journalctl SECRETSD_CHAIN=signer -o json --output-fields=SECRETSD_SEQ,SECRETSD_HASH"
    entries = [json.loads(line) for line in lab.host.sh(command).splitlines()]
    return sorted({int(entry["SECRETSD_SEQ"]) for entry in entries if "SECRETSD_SEQ" in entry})


def _has_all(lab: Lab) -> bool:
    return _in_journal(lab) == list(range(1, _last(lab)["seq"] + 1))


def test_it_is_started_by_nobody_and_without_a_sink_it_ends_well(lab: Lab) -> None:
    host = lab.host
    assert host.systemctl("is-enabled", _UNIT, check=False).stdout == "disabled\n"
    assert host.show(_UNIT, "ActiveState") == "inactive"
    host.systemctl("start", _UNIT)
    eventually(lambda: host.show(_UNIT, "ActiveState") == "inactive", "it ends")
    assert (host.show(_UNIT, "Result"), host.show(_UNIT, "NRestarts")) == ("success", "0")
    assert "nothing to do" in host.sh(f"journalctl -u {_UNIT} -o cat")


def test_records_are_in_the_journal_within_seconds_and_the_sandbox_is_closed(lab: Lab) -> None:
    _configure(lab)
    _sign(lab, 10)
    eventually(lambda: _has_all(lab), "the journal has every record")
    refreshers = "journalctl SECRETSD_CHAIN=refresher -o cat --output-fields=SECRETSD_SEQ"
    eventually(lambda: "1" in lab.host.sh(refreshers).split(), "the refresher's records are there, too")
    anchors = "journalctl MESSAGE_ID=77fcbe44f08744878d3f5be2c77cb6da -o json --output-fields=SECRETSD_ANCHOR"
    assert lab.host.sh(anchors).count("SECRETSD_ANCHOR") >= 1
    host, pid = lab.host, lab.host.show(_UNIT, "MainPID")
    printed = host.run(["systemd-analyze", "security", "--no-pager", f"{_UNIT}.service"]).stdout
    exposure = re.search(rf"Overall exposure level for {_UNIT}.service: ([0-9.]+)", printed)
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
    _configure(lab)
    eventually(lambda: _has_all(lab), "the journal has every record")
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

    before = host.show(_UNIT, "MainPID")
    host.put("/etc/secretsd/conf.d/bad.toml", '[audit.s3]\nbucket = "Not A Bucket"\n')
    assert host.systemctl("reload", _UNIT, check=False).returncode != 0
    host.systemctl("kill", "--signal=HUP", _UNIT)
    eventually(lambda: "stays as it was" in host.sh(f"journalctl -u {_UNIT} -o cat"), "it is told")
    _sign(lab, 2)
    eventually(lambda: _has_all(lab), "records go on to the journal")
    host.run(["rm", "/etc/secretsd/conf.d/bad.toml"])
    host.systemctl("reload", _UNIT)
    eventually(lambda: get_page(host, address, "/readyz")[1].strip() == "ready", "it is well again")
    assert host.show(_UNIT, "MainPID") == before

    host.systemctl("stop", _UNIT)
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
    host.systemctl("enable", "--now", _UNIT)
    eventually(lambda: _shipped(lab) == _last(lab)["seq"], "all is shipped", timeout_s=120)
    host.systemctl("restart", "secretsd-signer")
    eventually(lambda: first not in host.sh(full), "it is removed", timeout_s=90)
    verified = host.run(["secretsctl", "log", "--verify"], check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    pruned = "journalctl SECRETSD_ACTION=prune -o cat --output-fields=MESSAGE"
    eventually(lambda: Path(first).name in host.sh(pruned), "the removal is in the journal, too")


def _shipped(lab: Lab) -> int:
    text = _status(lab)
    sinks = json.loads(text)["sinks"] if text else []
    return next((c["record"] for sink in sinks for c in sink["chains"] if c["daemon"] == "signer"), 0)


def test_with_journald_stopped_signatures_go_on_and_nothing_is_lost(lab: Lab) -> None:
    _configure(lab)
    eventually(lambda: _has_all(lab), "the journal has every record")
    lab.host.sh("kill -STOP $(systemctl show -P MainPID systemd-journald)")
    started_s = time.monotonic()
    _sign(lab, 40)
    took_s = time.monotonic() - started_s
    lab.host.sh("kill -CONT $(systemctl show -P MainPID systemd-journald)")
    assert took_s < 60, took_s
    eventually(lambda: _has_all(lab), "the journal has caught up", timeout_s=90)


def test_the_trail_is_restored_from_s3_alone_after_an_outage_and_a_kill(
    lab: Lab, s3: StrictS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = client("kms", lab.aws.url).create_key()["KeyMetadata"]["Arn"]
    _configure(lab, key)
    _sign(lab, 5)
    s3.is_out.set()
    _sign(lab, 5)
    eventually(lambda: "server-error" in _status(lab), "the outage is in its status")
    doctor = lab.host.run(["secretsctl", "doctor"], check=False).stdout
    assert re.search(r"^fail +shipper s3", doctor, re.MULTILINE), doctor
    lab.host.systemctl("kill", "--signal=KILL", _UNIT)
    _sign(lab, 5)
    s3.is_out.clear()
    eventually(
        lambda: f'"record": {_last(lab)["seq"]}' in _status(lab).partition('"s3"')[2], "all is shipped"
    )
    for name, value in lab.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    place = [f"s3://{BUCKET}", "--region", REGION, "--endpoint-url", lab.aws.url]
    assert secretsctl(["audit-restore", *place, "--to", str(tmp_path / "trail")]) == 0
    (restored,) = (tmp_path / "trail").glob("*/signer-*.jsonl")
    assert restored.read_text() == lab.host.read(AUDIT)
    assert not s3.refused


def _status(lab: Lab) -> str:
    return lab.host.sh("cat /var/lib/secretsd-shipper/status.json 2>/dev/null || true")
