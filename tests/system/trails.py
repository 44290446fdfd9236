"""A machine whose trails are shipped, to its journal and to a bucket with a lock; the signer has a key."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.lab.aws import REGION
from tests.lab.lab import Lab
from tests.lab.network import Address
from tests.shipping.conftest import BUCKET, client

UNIT = "secretsd-shipper"
S3_ADDRESS: Address = ("127.0.0.1", 5001)
FILES = {
    "refresher": "/var/lib/secretsd/audit/refresher.jsonl",
    "signer": "/var/lib/secretsd-signer/audit/signer.jsonl",
}


def make_key(lab: Lab) -> None:
    """A token of SoftHSM, and the key "demo" on it."""
    lab.host.run(["/usr/libexec/secretsd/setup-softhsm"], timeout_s=120)
    lab.host.run(["secretsctl", "keys", "generate", "demo"])


def make_bucket(lab: Lab) -> str:
    """Makes the bucket. Returns the KMS key for it."""
    client("s3", lab.aws.url).create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    return str(client("kms", lab.aws.url).create_key()["KeyMetadata"]["Arn"])


def ship(lab: Lab, kms_key: str = "", batch_age: str = "1s") -> None:
    """Starts the shipper: to the journal, and with a key for the bucket to S3, too."""
    bucket = f"""
[audit.s3]
bucket = "{BUCKET}"
region = "{REGION}"
endpoint_url = "http://{S3_ADDRESS[0]}:{S3_ADDRESS[1]}"
kms_key = "{kms_key}"
batch_age = "{batch_age}"
"""
    lab.host.put("/etc/secretsd/conf.d/audit.toml", "[audit.journal]\n" + (bucket if kms_key else ""))
    lab.host.systemctl("enable", "--now", UNIT)


def last(lab: Lab, daemon: str = "signer") -> dict[str, Any]:
    """The last record of a trail."""
    found: dict[str, Any] = json.loads(lab.host.run(["tail", "-n", "1", FILES[daemon]]).stdout)
    return found


def in_journal(lab: Lab, daemon: str = "signer") -> list[int]:
    """The numbers of the records that the journal has, each as often as it has it."""
    command = f"journalctl SECRETSD_CHAIN={daemon} -o json --output-fields=SECRETSD_SEQ"
    entries = [json.loads(line) for line in lab.host.sh(command).splitlines()]
    return sorted(int(entry["SECRETSD_SEQ"]) for entry in entries if "SECRETSD_SEQ" in entry)


def journal_has_all(lab: Lab, daemon: str = "signer") -> bool:
    """Whether every record of a trail is in the journal."""
    return sorted(set(in_journal(lab, daemon))) == list(range(1, last(lab, daemon)["seq"] + 1))


def status(lab: Lab) -> str:
    """What the shipper says of itself, as it stands in its file; empty before it has said anything."""
    return lab.host.sh("cat /var/lib/secretsd-shipper/status.json 2>/dev/null || true")


def shipped(lab: Lab, sink: str) -> dict[str, int]:
    """The last record of each chain that a sink has."""
    document = json.loads(status(lab) or '{"sinks": []}')
    chains = [chain for each in document["sinks"] if each["name"] == sink for chain in each["chains"]]
    return {chain["daemon"]: int(chain["record"]) for chain in chains}


def has_all(lab: Lab, sinks: Sequence[str]) -> bool:
    """Whether each of these sinks has both trails up to their ends."""
    ends = {daemon: last(lab, daemon)["seq"] for daemon in FILES}
    return all(shipped(lab, sink) == ends for sink in sinks)
