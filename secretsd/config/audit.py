"""The table `[audit]`: how the trails of both daemons are kept, and where they are shipped to."""

# Without `from __future__ import annotations`: pydantic reads the annotations when the classes are made.
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from secretsd.config.fields import AbsolutePath, FileSize, Interval, LoopbackPort, SocketPath, refused
from secretsd.config.shipper_place import METRICS_SOCKET, SINKS
from secretsd.config.shipping import AuditCloudWatch, AuditJournal, AuditS3
from secretsd.config.table import Table, beside


class Audit(Table):
    """How the audit trails of secretsd and of secretsd-signer are kept. Nothing switches them off.

    With one of the tables in it secretsd-shipper.service brings the trail to where it cannot be rewritten:
    enable it with `systemctl enable --now secretsd-shipper`, and reload it after a change here.
    """

    max_file_bytes: FileSize = Field(
        default=64 * 1024 * 1024,
        alias="max_file_size",
        description="How large a file of the trail becomes before the chain goes on in a new one. The full"
        " one stays beside it: see `keep`.",
        examples=["64M"],
    )
    keep_s: Interval | None = Field(
        default=None,
        alias="keep",
        description="How long full files stay on this host at least, from their last record on. Then the"
        " daemon that wrote a file removes it, the oldest first, if the shipper says that every sink named"
        " here has all of it and is beyond it. Without `keep` none is removed.",
        examples=["30d"],
        json_schema_extra=beside(journal={}),
    )
    keep_bytes: FileSize | None = Field(
        default=None,
        alias="keep_size",
        description="How much of each trail stays at least, however old it is.",
        examples=["1G"],
        json_schema_extra=beside(journal={}, keep="30d"),
    )
    remove_unshipped: bool = Field(
        default=False,
        description="For a trail that is shipped nowhere: files that are older than `keep` are removed all"
        " the same, and then those records are nowhere.",
        examples=[True],
        json_schema_extra=beside(keep="30d"),
    )
    shipper_state_dir: AbsolutePath = Field(
        default=Path("/var/lib/secretsd-shipper"),
        description="Where the shipper keeps what each sink has.",
        examples=["/home/me/.local/state/secretsd-shipper"],
    )
    shipper_metrics_socket: SocketPath = Field(
        default=METRICS_SOCKET,
        description="Where the shipper serves metrics and health: its Unix socket, as `socket` of [metrics].",
        examples=["/run/secretsd-shipper/metrics.sock"],
    )
    shipper_metrics_listen: LoopbackPort | None = Field(
        default=None,
        description="An address of the loopback with a port for the shipper's metrics, as `listen` of"
        " [metrics]: every process of the host can then read them.",
        examples=["127.0.0.1:9480"],
    )
    journal: AuditJournal | None = Field(
        default=None, description="Ship to the journal of this host.", examples=[{}]
    )
    s3: AuditS3 | None = Field(
        default=None,
        description="Ship to a bucket of S3.",
        examples=[
            {
                "bucket": "example-audit-trail",
                "kms_key": "arn:aws:kms:us-east-1:111122223333:key/11111111-2222-3333-4444-555555555555",
            }
        ],
    )
    cloudwatch: AuditCloudWatch | None = Field(
        default=None, description="Ship to CloudWatch Logs.", examples=[{"log_group": "/secretsd/audit"}]
    )

    @property
    def sinks(self) -> tuple[str, ...]:
        """The names of those that are configured."""
        return tuple(name for name in SINKS if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _what_is_kept_fits_together(self) -> Self:
        if self.keep_s is None and (self.keep_bytes is not None or self.remove_unshipped):
            raise refused("keep_size and remove_unshipped go with keep only: without it nothing is removed")
        if self.remove_unshipped and self.sinks:
            raise refused("goes without journal, s3 and cloudwatch only", key="remove_unshipped")
        if self.keep_s is not None and not self.sinks and not self.remove_unshipped:
            raise refused(
                "needs a sink (journal, s3, cloudwatch), or remove_unshipped = true: what is nowhere else"
                " is not removed",
                key="keep",
            )
        return self
