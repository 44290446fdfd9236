"""The table `[audit]`: what is done with the audit trail beside writing it."""

# Without `from __future__ import annotations`: pydantic reads the annotations when the classes are made.
from pathlib import Path

from pydantic import Field

from secretsd.config.fields import AbsolutePath
from secretsd.config.shipping import AuditCloudWatch, AuditJournal, AuditS3
from secretsd.config.table import Table


class Audit(Table):
    """The audit trail of the daemons of this host.

    With one of its tables secretsd-shipper.service brings the trail to where it cannot be rewritten; enable
    it with `systemctl enable --now secretsd-shipper`, and restart it after a change here.
    """

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
