"""The real process, killed again and again, and the trail that is put together from S3 alone."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secretsd.cli.main import run as secretsctl
from tests.lab import daemons
from tests.lab.aws import REGION
from tests.shipping.conftest import BUCKET
from tests.shipping.host import PATIENCE_S, Host
from tests.shipping.strict_s3 import StrictS3
from tests.shipping.test_journal import FakeJournald


@pytest.fixture
def host(tmp_path: Path, strict: StrictS3, kms_key: str) -> Iterator[Host]:
    journald = FakeJournald(tmp_path / "journald")
    with journald.drained() as entries:
        found = Host(tmp_path, strict.url, kms_key, journald.path)
        found.entries = entries
        yield found
        found.kill()
    journald.close()


def restore(strict: StrictS3, to: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """Exit code and document of `secretsctl audit-restore`."""
    place = [f"s3://{BUCKET}/trail", "--region", REGION, "--endpoint-url", strict.url, "--to", str(to)]
    code = secretsctl(["audit-restore", *place, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_killed_again_and_again_the_trail_in_s3_is_whole(
    host: Host,
    strict: StrictS3,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    s3: Any,
) -> None:
    dice = random.Random(7)
    for number in range(6):
        process = host.start()
        end = time.monotonic() + 1.0 + 2.0 * dice.random()
        while time.monotonic() < end:
            host.chain.add(20)
            time.sleep(0.02)
        if number == 3:
            host.chain.tear()
            host.chain.rotate()
        process.send_signal(signal.SIGKILL)
        host.kill()
    host.start()
    host.wait_until_shipped()
    time.sleep(0.1)
    assert sorted(set(host.in_journal())) == list(range(1, host.chain.head.seq + 1))
    code, document = restore(strict, tmp_path / "restored", capsys)
    assert code == 0, document
    (chain,) = document["chains"]
    assert (chain["is_whole"], chain["records"]) == (True, host.chain.head.seq)
    assert chain["last_hash"] == host.chain.head.hash.decode()
    assert not strict.refused
    restored = sorted((tmp_path / "restored" / os.uname().nodename).iterdir())
    assert b"".join(path.read_bytes() for path in restored) == host.chain.bytes()
    versions = s3.list_object_versions(Bucket=BUCKET, MaxKeys=1000)["Versions"]
    assert len({each["Key"] for each in versions}) == len(versions)


def test_the_restore_finds_what_was_done_to_the_bucket(
    host: Host, strict: StrictS3, s3: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host.chain.add(100)
    host.start()
    host.wait_until_shipped()
    host.kill()
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    (content,) = [key for key in keys if key.endswith(".gz")]
    s3.put_object(Bucket=BUCKET, Key=content, Body=b"overwritten")
    for key in keys:
        s3.delete_object(Bucket=BUCKET, Key=key)
    code, document = restore(strict, tmp_path / "one", capsys)
    assert (code, document["chains"][0]["records"]) == (0, 100)
    whys = [each["why"] for each in document["chains"][0]["findings"]]
    assert sum("was written over" in why for why in whys) == 1
    assert sum("was deleted" in why for why in whys) == len(keys)
    # What Object Lock keeps everybody from.
    shipped = s3.list_object_versions(Bucket=BUCKET, Prefix=content)["Versions"][-1]
    assert shipped["Size"] != len(b"overwritten")
    with pytest.raises(Exception, match="AccessDenied"):
        s3.delete_object(
            Bucket=BUCKET, Key=content, VersionId=shipped["VersionId"], BypassGovernanceRetention=True
        )


def test_an_outage_is_in_its_status_and_is_over_when_it_is_over(host: Host, strict: StrictS3) -> None:
    strict.is_out.set()
    host.chain.add(50)
    host.start()
    end = time.monotonic() + PATIENCE_S
    while True:
        assert time.monotonic() < end
        time.sleep(0.2)
        if (host.state_dir / "status.json").exists():
            (found,) = [each for each in host.status()["sinks"] if each["name"] == "s3"]
            if found["failure"] is not None:
                break
    assert found["failure"]["code"] == "server-error"
    assert found["chains"][0]["waiting_bytes"] == host.chain.path.stat().st_size
    assert host.shipped("journal") == 50
    strict.is_out.clear()
    host.wait_until_shipped()


def test_without_a_sink_it_says_so_and_ends_well(tmp_path: Path) -> None:
    config = tmp_path / "secretsd.toml"
    config.write_text("")
    code, said = daemons.run("secretsd.shipping", config)
    assert code == 0
    assert "nothing to do" in said
    assert "secretsd.toml(5)" in said
