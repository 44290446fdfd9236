"""The sinks of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secretsd.config.audit import Audit
    from secretsd.shipping.sinks.interface import Sink


def sinks_of(audit: Audit) -> list[Sink]:
    """One for each table of `[audit]`. Raises: OSError where no socket can be made."""
    found: list[Sink] = []
    # Who ships to the journal alone need not hold the SDK of AWS in memory.
    if audit.journal is not None:
        from secretsd.shipping.sinks.journal import Journal

        found.append(Journal(audit.journal))
    if audit.s3 is not None:
        from secretsd.shipping.sinks.s3 import S3

        found.append(S3(audit.s3))
    if audit.cloudwatch is not None:
        from secretsd.shipping.sinks.cloudwatch import CloudWatch

        found.append(CloudWatch(audit.cloudwatch))
    return found
