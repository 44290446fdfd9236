"""A host with a trail and the real process that ships it, on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.lab.aws import FAKE_CREDENTIALS, REGION, FakeAws
from tests.lab.daemons import DaemonProcess
from tests.shipping.chains import Chain
from tests.shipping.conftest import BUCKET, client
from tests.shipping.strict_s3 import StrictS3
from tests.shipping.test_journal import FakeJournald

PATIENCE_S = 30.0


class Host:
    """The files of a host with a refresher's trail, and its shipper; `entries` are those of the journal."""

    def __init__(self, home: Path, s3_url: str, kms_key: str, journald: Path) -> None:
        self.home = home
        self.state_dir = home / "shipper"
        self.chain = Chain(home / "state" / "audit", "refresher")
        self.config = home / "secretsd.toml"
        self.config.write_text(f"""\
[daemon]
runtime_dir = "{home}/run"
state_dir = "{home}/state"
[audit]
shipper_state_dir = "{self.state_dir}"
shipper_metrics_socket = "{home}/metrics.sock"
[audit.journal]
socket = "{journald}"
[audit.s3]
bucket = "{BUCKET}"
prefix = "trail/"
region = "{REGION}"
endpoint_url = "{s3_url}"
kms_key = "{kms_key}"
batch_age = "1s"
""")
        self.entries: list[dict[str, str]] = []
        self.log = home / "shipper.log"
        self.process: DaemonProcess | None = None

    def start(self) -> DaemonProcess:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment = {**clean, **FAKE_CREDENTIALS, "AWS_EC2_METADATA_DISABLED": "true"}
        with self.log.open("ab") as log:
            self.process = DaemonProcess("secretsd.shipping", self.config, env=environment, stderr=log)
        return self.process

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.state_dir / "status.json").read_text())
        return document

    def shipped(self, sink: str) -> int:
        """The last record that the sink has, by its cursor."""
        cursor = self.state_dir / "cursors" / f"{sink}-refresher.json"
        if not cursor.exists():
            return 0
        return int(json.loads(cursor.read_text()).get("position", {"seq": 0})["seq"])

    def wait_until_shipped(self) -> None:
        end = time.monotonic() + PATIENCE_S
        while min(map(self.shipped, ("s3", "journal"))) < self.chain.head.seq:
            assert time.monotonic() < end, (self.shipped("s3"), self.shipped("journal"), self.status())
            time.sleep(0.1)

    def in_journal(self) -> list[int]:
        """The numbers of the records that the journal has, each as often as it has it."""
        return [int(entry["SECRETSD_SEQ"]) for entry in self.entries if "SECRETSD_SEQ" in entry]


@contextlib.contextmanager
def a_host(home: Path, aws: FakeAws) -> Iterator[tuple[Host, StrictS3]]:
    """One with a bucket of its own and a journald; its shipper is not started yet."""
    aws.reset()
    client("s3", aws.url).create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    key = str(client("kms", aws.url).create_key()["KeyMetadata"]["Arn"])
    journald = FakeJournald(home / "journald")
    with StrictS3(aws.address) as s3, journald.drained() as entries:
        host = Host(home, s3.url, key, journald.path)
        host.entries = entries
        try:
            yield host, s3
        finally:
            host.kill()
    journald.close()
