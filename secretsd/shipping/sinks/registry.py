"""The sinks of the configuration, by the names of their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secretsd.config.shipping import AuditCloudWatch, AuditJournal, AuditS3

if TYPE_CHECKING:
    from secretsd.shipping.sinks.interface import Sink

SinkTable = AuditJournal | AuditS3 | AuditCloudWatch


def sink_of(table: SinkTable) -> Sink:
    """The sink that a table below `[audit]` names. Raises: OSError where no socket can be made."""
    # Who ships to the journal alone need not hold the SDK of AWS in memory.
    match table:
        case AuditJournal():
            from secretsd.shipping.sinks.journal import Journal

            return Journal(table)
        case AuditS3():
            from secretsd.shipping.sinks.s3 import S3

            return S3(table)
        case AuditCloudWatch():
            from secretsd.shipping.sinks.cloudwatch import CloudWatch

            return CloudWatch(table)
