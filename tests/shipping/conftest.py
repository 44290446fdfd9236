"""A bucket as `secretsctl aws-setup --audit` makes it, behind a proxy that is as strict as AWS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from secretsd.config.shipping import AuditS3
from tests.lab.aws import FAKE_CREDENTIALS, REGION, FakeAws
from tests.shipping.chains import Chain
from tests.shipping.strict_s3 import StrictS3

BUCKET = "fake-audit-trail"


def client(service: str, url: str) -> Any:
    """A client that never retries."""
    return boto3.session.Session(
        aws_access_key_id=FAKE_CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=FAKE_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
    ).client(
        service,
        endpoint_url=url,
        config=Config(retries={"max_attempts": 0}, proxies={}, s3={"addressing_style": "path"}),
    )


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(tmp_path / "audit")


@pytest.fixture
def s3(aws: FakeAws) -> Any:
    """An administrator's client of S3; the bucket is there."""
    found = client("s3", aws.url)
    found.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    return found


@pytest.fixture
def kms_key(aws: FakeAws) -> str:
    return str(client("kms", aws.url).create_key()["KeyMetadata"]["Arn"])


@pytest.fixture
def strict(aws: FakeAws, s3: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[StrictS3]:
    """The way to S3, and the environment of a shipper."""
    del s3
    for name, value in FAKE_CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with StrictS3(aws.address) as proxy:
        yield proxy


@pytest.fixture
def config(strict: StrictS3, kms_key: str) -> AuditS3:
    return AuditS3.model_validate(
        {
            "bucket": BUCKET,
            "prefix": "trail/",
            "region": REGION,
            "endpoint_url": strict.url,
            "kms_key": kms_key,
        }
    ).model_copy(update={"batch_bytes": 65536})
