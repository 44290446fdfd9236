"""What arrives in the bucket: locked, checked, encrypted, once for each name, however often it is tried."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from secretsd.config.shipping import AuditS3
from secretsd.shipping.courier import ChainPlace, Courier, Route
from secretsd.shipping.manifest import read_anchor_key, read_manifest
from secretsd.shipping.sinks.interface import SinkError
from secretsd.shipping.sinks.s3 import S3
from tests.canary.spellings import MARKER, needles
from tests.canary.tally import Tally
from tests.shipping.chains import Chain
from tests.shipping.conftest import BUCKET, client
from tests.shipping.strict_s3 import StrictS3


class Clock:
    """Monotonic seconds that pass when we say so."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


def a_courier(config: AuditS3, chain: Chain, state_dir: Path, clock: Clock) -> Courier:
    return Courier(S3(config), [ChainPlace(chain.daemon, chain.directory)], state_dir, clock)


@pytest.fixture
def courier(config: AuditS3, chain: Chain, state_dir: Path, clock: Clock) -> Courier:
    return a_courier(config, chain, state_dir, clock)


def keys(s3: Any, part: str, end: str = "") -> list[str]:
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix="trail/").get("Contents", [])
    return [each["Key"] for each in found if part in each["Key"] and each["Key"].endswith(end)]


def content(s3: Any, key: str) -> bytes:
    return bytes(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())


def shipped(s3: Any) -> bytes:
    return b"".join(gzip.decompress(content(s3, key)) for key in keys(s3, "batches/", ".gz"))


def test_a_batch_waits_for_its_age_and_arrives_locked(
    courier: Courier, chain: Chain, s3: Any, strict: StrictS3, config: AuditS3, clock: Clock
) -> None:
    chain.add(10)
    courier.round()
    assert keys(s3, "batches/") == []
    clock.now_s += config.batch_age_s
    courier.round()
    assert courier.failure is None
    (batch,) = keys(s3, "batches/", ".jsonl.gz")
    (manifest_key,) = keys(s3, "batches/", ".manifest.json")
    assert shipped(s3) == chain.bytes()
    manifest = read_manifest(content(s3, manifest_key))
    assert manifest is not None
    assert (manifest.first, manifest.head, manifest.content) == (1, chain.head, batch)
    assert manifest.sha256 == hashlib.sha256(chain.bytes()).hexdigest()
    for key in (batch, manifest_key, *keys(s3, "anchors/")):
        head = s3.head_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED")
        assert head["ObjectLockMode"] == "COMPLIANCE"
        assert head["ObjectLockRetainUntilDate"] > datetime.now(UTC) + timedelta(days=2554)
        assert head["ServerSideEncryption"] == "aws:kms"
        digest = hashlib.sha256(content(s3, key)).digest()
        assert head["ChecksumSHA256"] == base64.b64encode(digest).decode()
    assert not strict.refused


@pytest.mark.plants
def test_a_secret_in_a_record_is_found_in_the_packed_batch(
    courier: Courier, chain: Chain, strict: StrictS3, clock: Clock, config: AuditS3
) -> None:
    chain.add(members=f'"action":"sign","key":"{MARKER}"')
    courier.round()
    clock.now_s += config.batch_age_s
    courier.round()
    places = {str(trace) for trace in strict.shipped.traces(needles(), Tally())}
    assert len(places) == 1
    assert places.pop().endswith(".jsonl.gz (gzip, raw)")


def test_the_proxy_refuses_what_moto_takes(s3: Any, strict: StrictS3, aws: Any) -> None:
    """Else the test above would show nothing."""
    through = client("s3", strict.url)
    until = datetime.now(UTC) + timedelta(days=2555)
    good = {
        "Bucket": BUCKET,
        "Body": b"x",
        "ObjectLockMode": "COMPLIANCE",
        "ObjectLockRetainUntilDate": until,
        "ServerSideEncryption": "aws:kms",
        "IfNoneMatch": "*",
        "ChecksumAlgorithm": "SHA256",
        "ChecksumSHA256": base64.b64encode(hashlib.sha256(b"x").digest()).decode(),
    }
    through.put_object(Key="good", **good)
    lacking = {
        "BadDigest": {"ChecksumSHA256": base64.b64encode(hashlib.sha256(b"y").digest()).decode()},
        "RetentionTooShort": {"ObjectLockRetainUntilDate": until - timedelta(days=2)},
        "NoEncryption": {"ServerSideEncryption": "AES256"},
    }
    for why, change in lacking.items():
        with pytest.raises(Exception, match=why):
            through.put_object(Key=why, **{**good, **change})
    for left_out, why in (
        ("IfNoneMatch", "NoCondition"),
        ("Checksum", "NoChecksum"),
        ("ObjectLock", "NoLock"),
    ):
        kept = {name: good[name] for name in good if not name.startswith(left_out)}
        with pytest.raises(Exception, match=why):
            through.put_object(Key=why, **kept)
    assert sum(strict.refused.values()) == 6


def test_full_batches_and_finished_files_do_not_wait(courier: Courier, chain: Chain, s3: Any) -> None:
    chain.add(2000)
    courier.round()
    full = keys(s3, "batches/", ".gz")
    assert len(full) >= 3
    chain.rotate()
    courier.round()
    assert shipped(s3) == chain.files()[0].read_bytes()


def test_each_manifest_names_the_one_before(courier: Courier, chain: Chain, s3: Any) -> None:
    chain.add(2000)
    chain.rotate()
    courier.round()
    names = keys(s3, "batches/", ".manifest.json")
    manifests = [read_manifest(content(s3, name)) for name in names]
    assert manifests[0] is not None
    assert manifests[0].before is None
    for name, each in zip(names, manifests[1:], strict=False):
        assert each is not None
        assert each.before is not None
        assert each.before.key == name
        assert each.before.sha256 == hashlib.sha256(content(s3, name)).hexdigest()


def test_while_s3_is_out_records_wait_and_all_arrive_afterwards(
    courier: Courier, chain: Chain, s3: Any, strict: StrictS3, clock: Clock
) -> None:
    strict.is_out.set()
    for _ in range(60):  # an hour of it
        chain.add(50)
        clock.now_s += 60
        courier.round()
        if chain.head.seq % 500 == 0:
            chain.rotate()
    assert courier.failure is not None
    assert courier.failure.code == "server-error"
    assert "Nothing is lost meanwhile" in courier.failure.advice
    assert shipped(s3) == b""
    strict.is_out.clear()
    clock.now_s += 600
    chain.add(1)
    courier.round()
    assert courier.failure is None
    clock.now_s += 600
    courier.round()
    assert shipped(s3) == chain.bytes()
    assert courier.routes[0].counts.records == 3001
    assert courier.routes[0].counts.missing == 0


@pytest.mark.parametrize("lost", ["answers", "cursor"])
def test_a_crash_behind_the_upload_sends_the_very_same_again(
    config: AuditS3,
    chain: Chain,
    state_dir: Path,
    clock: Clock,
    s3: Any,
    strict: StrictS3,
    lost: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    courier = a_courier(config, chain, state_dir, clock)
    chain.add(10)
    courier.round()
    clock.now_s += config.batch_age_s
    if lost == "answers":
        strict.loses_answers.set()
        courier.round()
        courier.round()
        assert courier.failure is not None
        strict.loses_answers.clear()
    else:

        def killed(self: Route, cursor: Any) -> None:
            if not cursor.sending:
                raise KeyboardInterrupt
            real(self, cursor)

        real = Route.save
        monkeypatch.setattr(Route, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            courier.round()
        monkeypatch.undo()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "fake")
    chain.add(10)  # which would have made the batch another one
    courier = a_courier(config, chain, state_dir, clock)
    courier.round()
    assert courier.failure is None
    assert len(keys(s3, "batches/", ".gz")) == 1
    clock.now_s += config.batch_age_s
    courier.round()
    assert shipped(s3) == chain.bytes()
    versions = s3.list_object_versions(Bucket=BUCKET, Prefix="trail/")["Versions"]
    assert len(versions) == len({each["Key"] for each in versions})


def test_anchors_come_each_minute_while_there_is_something_new(
    courier: Courier, chain: Chain, s3: Any, clock: Clock
) -> None:
    courier.round()
    assert keys(s3, "anchors/") == []
    for _ in range(3):
        chain.add(1)
        clock.now_s += 60
        courier.round()
    clock.now_s += 60
    courier.round()
    found = [read_anchor_key(key) for key in keys(s3, "anchors/")]
    assert [anchor[1] for anchor in found if anchor] == [1, 2, 3]
    said = json.loads(content(s3, keys(s3, "anchors/")[-1]))
    assert (said["seq"], said["hash"]) == (chain.head.seq, chain.head.hash.decode())


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"bucket": "no-such-bucket"}, "bucket-missing"),
        ({"endpoint_url": "http://127.0.0.1:9"}, "unreachable"),
        ({"bucket": "without-lock"}, "no-object-lock"),
    ],
)
def test_what_is_wrong_has_a_name_and_a_way_out(
    config: AuditS3, chain: Chain, s3: Any, change: dict[str, str], code: str
) -> None:
    s3.create_bucket(Bucket="without-lock")
    chain.add(1)
    sink = S3(config.model_copy(update=change))
    with pytest.raises(SinkError) as caught:
        sink.anchor("signer", chain.head, 0)
    assert caught.value.failure.code == code
    assert caught.value.failure.advice
    assert caught.value.__context__ is None
