"""The source that a table of the configuration describes. Only the worker and its zygote import this."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from secretsd.config import sources as tables
from secretsd.model import CloudIdentity
from secretsd.refresh.sources.aws import session as aws_session
from secretsd.refresh.sources.aws.regions import RegionalSource
from secretsd.refresh.sources.aws.secretsmanager import AwsSecretsManager
from secretsd.refresh.sources.environment import EnvironmentSource
from secretsd.refresh.sources.files import FileSource

if TYPE_CHECKING:
    from secretsd.model import Identity, Stop
    from secretsd.refresh.messages import SourceJob
    from secretsd.refresh.sources.interface import Source


def preload() -> None:
    """Warm whatever the sources share: the zygote calls this once, before any secret exists.

    Reads no real credential, starts no thread, opens no connection.
    """
    aws_session.preload()


def open_source(name: str, job: SourceJob) -> Source:
    """The source that `job` describes; contacts nothing yet."""
    match job.config:
        case tables.AwsSecretsManager():
            return _secrets_manager(name, job)
        case tables.AwsSsm() | tables.VaultSource():
            raise NotImplementedError(job.config.type)
        case tables.FileSource(directory=directory):
            return FileSource(name, directory=directory)
        case tables.EnvSource():
            return EnvironmentSource()
    assert_never(job.config)


def _secrets_manager(name: str, job: SourceJob) -> Source:
    def open_stop(stop: Stop, identity: Identity | None, cautious: bool) -> AwsSecretsManager:  # noqa: FBT001
        is_renewed = identity is not job.identity  # by an earlier stop of this fetch
        return AwsSecretsManager(
            name,
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
