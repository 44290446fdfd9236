"""The sinks of the configuration, and the chains that go to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secretsd.shipping.courier import ChainPlace

if TYPE_CHECKING:
    from secretsd.config.audit import Audit
    from secretsd.config.models import Config
    from secretsd.shipping.interface import Sink


def sinks_of(audit: Audit) -> list[Sink]:
    """One for each table of `[audit]`. Raises: OSError where no socket can be made."""
    found: list[Sink] = []
    # Who ships to the journal alone need not hold the SDK of AWS in memory.
    if audit.journal is not None:
        from secretsd.shipping.journal import Journal

        found.append(Journal(audit.journal))
    if audit.s3 is not None:
        from secretsd.shipping.s3 import S3

        found.append(S3(audit.s3))
    if audit.cloudwatch is not None:
        from secretsd.shipping.cloudwatch import CloudWatch

        found.append(CloudWatch(audit.cloudwatch))
    return found


def chains_of(config: Config) -> list[ChainPlace]:
    """Where the daemons of this host write."""
    places = [ChainPlace("refresher", config.daemon.state_dir / "audit")]
    if config.signer is not None:
        places.append(ChainPlace("signer", config.signer.state_dir / "audit"))
    return places
