"""The source that a table of the configuration describes. Only the worker and its zygote import this.

The kinds that need a library of their own are imported where one is configured: a host without Vault does not
pay for hvac, nor one without AWS for botocore.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from secretsd.config import sources as tables
from secretsd.model import CloudIdentity, VaultToken
from secretsd.refresh.sources.environment import EnvironmentSource
from secretsd.refresh.sources.files import FileSource

if TYPE_CHECKING:
    from collections.abc import Collection

    from secretsd.model import Identity, Stop
    from secretsd.refresh.messages import SourceJob
    from secretsd.refresh.sources.aws.source import AwsSource
    from secretsd.refresh.sources.interface import Source

_AWS = ("aws-secretsmanager", "aws-ssm")


def preload(kinds: Collection[str]) -> None:
    """Warm what sources of these types share: the zygote calls this once, before any secret exists.

    Reads no real credential, starts no thread, opens no connection.
    """
    if aws := [kind for kind in _AWS if kind in kinds]:
        from secretsd.refresh.sources.aws import regions, services, session  # noqa: F401 - warmed

        session.preload([services.SERVICES[kind].client_name for kind in aws])
    if "vault" in kinds:
        from secretsd.refresh.sources.vault import session as vault_session
        from secretsd.refresh.sources.vault import source  # noqa: F401 - warmed

        vault_session.preload()


def open_source(name: str, job: SourceJob) -> Source:
    """The source that `job` describes; contacts nothing yet."""
    match job.config:
        case tables.AwsSecretsManager() | tables.AwsSsm():
            return _of_aws(job.config.type, job)
        case tables.VaultSource():
            return _of_vault(job.config, job)
        case tables.FileSource(directory=directory):
            return FileSource(name, directory=directory)
        case tables.EnvSource():
            return EnvironmentSource()
    assert_never(job.config)


def _of_vault(table: tables.VaultSource, job: SourceJob) -> Source:
    from secretsd.refresh.sources.vault.source import VaultSource

    return VaultSource(
        table,
        identity=job.identity if isinstance(job.identity, VaultToken) else None,
        witness=job.witness,
        renew_identity=job.renew_identity,
        endpoint=job.route.stops[0].endpoint,
        cautious=job.route.cautious,
    )


def _of_aws(kind: str, job: SourceJob) -> Source:
    from secretsd.refresh.sources.aws.regions import RegionalSource
    from secretsd.refresh.sources.aws.services import SERVICES
    from secretsd.refresh.sources.aws.source import AwsSource

    def open_stop(stop: Stop, identity: Identity | None, cautious: bool) -> AwsSource:  # noqa: FBT001
        is_renewed = identity is not job.identity  # by an earlier stop of this fetch
        return AwsSource(
            SERVICES[kind],
            region=stop.region,
            endpoint_url=stop.url,
            identity=identity if isinstance(identity, CloudIdentity) else None,
            witness=job.witness,
            renew_identity=job.renew_identity and not is_renewed,
            endpoint=stop.endpoint,
            cautious=cautious,
        )

    if len(job.route.stops) == 1:
        return open_stop(job.route.stops[0], job.identity, job.route.cautious)
    return RegionalSource(job.route, job.floors, job.identity, open_stop)
