"""The tables below `[audit]` that say where the audit trail is shipped to."""

# Without `from __future__ import annotations`: pydantic reads the annotations when the classes are made.
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from secretsd.config.fields import (
    TIME_SPAN,
    EndpointUrl,
    Interval,
    Kind,
    Region,
    SocketPath,
    TimeSpan,
    refused,
)
from secretsd.config.table import Table, beside

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_KEY_PREFIX = re.compile(r"([A-Za-z0-9._=-]+/)*")
_KEY_ARN = re.compile(r"arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]{1,64}")
_LOG_GROUP = re.compile(r"[A-Za-z0-9_/.#-]{1,512}")
_MEBIBYTES = re.compile(r"([0-9]{1,2})M")
_DAY_S = 86400.0
_EXAMPLE_KEY = "arn:aws:kms:us-east-1:111122223333:key/11111111-2222-3333-4444-555555555555"


def _bucket(value: str) -> str:
    if not _BUCKET.fullmatch(value):
        raise refused("must be the name of a bucket, not its ARN or URL")
    return value


def _key_arn(value: str) -> str:
    # An alias would do for S3, and not for the bucket's policy, which compares what is asked for.
    if not _KEY_ARN.fullmatch(value):
        raise refused("must be the ARN of a key, not its id or an alias")
    return value


def _key_prefix(value: str) -> str:
    if not _KEY_PREFIX.fullmatch(value) or len(value) > 512:
        raise refused('must be words of letters, digits, ".", "_", "-", "=", with a slash behind each')
    return value


def _log_group(value: str) -> str:
    if not _LOG_GROUP.fullmatch(value):
        raise refused("must be the name of a log group, not its ARN")
    return value


def _batch_size(value: object) -> int:
    found = _MEBIBYTES.fullmatch(value) if isinstance(value, str) else None
    # A batch is held in memory, and put as one object.
    if found is None or not 1 <= int(found[1]) <= 64:
        raise refused('must be a size of "1M" to "64M"')
    return int(found[1]) << 20


def _retention(seconds: float) -> float:
    if not _DAY_S <= seconds <= 36500 * _DAY_S:  # what Object Lock takes
        raise refused("must be 1d to 36500d")
    return seconds


Bucket = Annotated[str, Kind("name of a bucket"), AfterValidator(_bucket)]
KeyArn = Annotated[str, Kind("ARN of a KMS key"), AfterValidator(_key_arn)]
KeyPrefix = Annotated[str, Kind("words with a slash behind each"), AfterValidator(_key_prefix)]
LogGroup = Annotated[str, Kind("name of a log group"), AfterValidator(_log_group)]
BatchSize = Annotated[int, Kind("size of 1M to 64M"), BeforeValidator(_batch_size)]
Retention = Annotated[TimeSpan, Kind(f"{TIME_SPAN} of 1d to 36500d"), AfterValidator(_retention)]


class AuditS3(Table):
    """A bucket with Object Lock, where nobody can change or remove what was shipped before its time is over.

    `secretsctl audit-restore` reads it back and verifies it. Credentials never stand here: they come from the
    role of the machine or from the environment of secretsd-shipper.service. They need no right to read.
    """

    bucket: Bucket = Field(
        description="The bucket. It must have Object Lock, which takes versioning with it.",
        examples=["example-audit-trail"],
        json_schema_extra=beside(kms_key=_EXAMPLE_KEY),
    )
    prefix: KeyPrefix = Field(
        default="",
        description="What the names of all objects begin with, with a slash at its end. Below it come the"
        " host and the daemon, so hosts can share a bucket.",
        examples=["secretsd/"],
        json_schema_extra=beside(bucket="example-audit-trail", kms_key=_EXAMPLE_KEY),
    )
    region: Region | None = Field(
        default=None,
        description="The region of the bucket. Without it AWS_REGION of the shipper's environment counts.",
        examples=["us-east-1"],
        json_schema_extra=beside(bucket="example-audit-trail", kms_key=_EXAMPLE_KEY),
    )
    endpoint_url: EndpointUrl | None = Field(
        default=None,
        description="Another address than the region's public one, such as a VPC endpoint.",
        examples=["https://bucket.vpce-0abc.s3.us-east-1.vpce.amazonaws.com"],
        json_schema_extra=beside(bucket="example-audit-trail", kms_key=_EXAMPLE_KEY),
    )
    kms_key: KeyArn = Field(
        description="The KMS key that objects are encrypted with (SSE-KMS).",
        examples=[_EXAMPLE_KEY],
        json_schema_extra=beside(bucket="example-audit-trail"),
    )
    retention_s: Retention = Field(
        default=2555 * _DAY_S,
        alias="retention",
        description="How long each object is locked from its upload on, in mode COMPLIANCE: until then not"
        " even the account's root can remove it.",
        examples=["2555d"],
        json_schema_extra=beside(bucket="example-audit-trail", kms_key=_EXAMPLE_KEY),
    )
    batch_bytes: BatchSize = Field(
        default=4 << 20,
        alias="batch_size",
        description="A batch is shipped when about so much has come together, before it is compressed.",
        examples=["4M"],
        json_schema_extra=beside(bucket="example-audit-trail", kms_key=_EXAMPLE_KEY),
    )
    batch_age_s: Interval = Field(
        default=300.0,
        alias="batch_age",
        description="A batch is shipped at the latest so long after its first record.",
        examples=["5m"],
        json_schema_extra=beside(bucket="example-audit-trail", kms_key=_EXAMPLE_KEY),
    )


class AuditCloudWatch(Table):
    """A log group of CloudWatch Logs: a stream HOST/DAEMON for each chain, a record an event.

    Without Object Lock's promise: who may delete the group can remove them. For searching.
    """

    log_group: LogGroup = Field(
        description="The log group. It must be there; its streams are made.", examples=["/secretsd/audit"]
    )
    region: Region | None = Field(
        default=None,
        description="The region of the group. Without it AWS_REGION of the shipper's environment counts.",
        examples=["us-east-1"],
        json_schema_extra=beside(log_group="/secretsd/audit"),
    )
    endpoint_url: EndpointUrl | None = Field(
        default=None,
        description="Another address than the region's public one, such as a VPC endpoint.",
        examples=["https://vpce-0abc.logs.us-east-1.vpce.amazonaws.com"],
        json_schema_extra=beside(log_group="/secretsd/audit"),
    )


class AuditJournal(Table):
    """The journal of this host: an entry a record, with fields, and the chain's last record each minute."""

    socket: SocketPath = Field(
        default=Path("/run/systemd/journal/socket"),
        description="The socket of journald's native protocol.",
        examples=["/run/systemd/journal/socket"],
    )
