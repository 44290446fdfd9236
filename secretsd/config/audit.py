"""The table `[audit]`: how the trails of both daemons are kept, and where they are shipped to."""

# Without `from __future__ import annotations`: pydantic reads the annotations when the classes are made.
from pathlib import Path

from pydantic import Field

from secretsd.config.fields import AbsolutePath, FileSize
from secretsd.config.shipping import AuditCloudWatch, AuditJournal, AuditS3
from secretsd.config.table import Table


class Audit(Table):
    """How the audit trails of secretsd and of secretsd-signer are kept. Nothing switches them off.

    With one of the tables in it secretsd-shipper.service brings the trail to where it cannot be rewritten:
    enable it with `systemctl enable --now secretsd-shipper`, and restart it after a change here.
    """

    max_file_bytes: FileSize = Field(
        default=64 * 1024 * 1024,
        alias="max_file_size",
        description="How large a file of the trail becomes before the chain goes on in a new one. The full"
        " one stays beside it until somebody takes it away: secretsd removes none.",
        examples=["64M"],
    )
    shipper_state_dir: AbsolutePath = Field(
        default=Path("/var/lib/secretsd-shipper"),
        description="Where the shipper keeps what each sink has.",
        examples=["/home/me/.local/state/secretsd-shipper"],
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
