"""The source that a table of the configuration describes. Only the worker and its zygote import this."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from secretsd.config import sources as tables
from secretsd.model import CloudIdentity
from secretsd.refresh.sources.aws import session as aws_session
from secretsd.refresh.sources.aws.regions import RegionalSource
from secretsd.refresh.sources.aws.secretsmanager import SECRETS_MANAGER
from secretsd.refresh.sources.aws.source import AwsSource
from secretsd.refresh.sources.aws.ssm import PARAMETER_STORE
from secretsd.refresh.sources.environment import EnvironmentSource
from secretsd.refresh.sources.files import FileSource

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from secretsd.model import Identity, Stop
    from secretsd.refresh.messages import SourceJob
    from secretsd.refresh.sources.aws.service import Service
    from secretsd.refresh.sources.interface import Source


_AWS: Mapping[str, Service] = {"aws-secretsmanager": SECRETS_MANAGER, "aws-ssm": PARAMETER_STORE}


def preload(kinds: Collection[str]) -> None:
    """Warm what sources of these types share: the zygote calls this once, before any secret exists.

    Reads no real credential, starts no thread, opens no connection.
    """
    aws_session.preload([service.client_name for kind, service in _AWS.items() if kind in kinds])


def open_source(name: str, job: SourceJob) -> Source:
    """The source that `job` describes; contacts nothing yet."""
    match job.config:
        case tables.AwsSecretsManager() | tables.AwsSsm():
            return _of_aws(_AWS[job.config.type], job)
        case tables.VaultSource():
            raise NotImplementedError(job.config.type)
        case tables.FileSource(directory=directory):
            return FileSource(name, directory=directory)
        case tables.EnvSource():
            return EnvironmentSource()
    assert_never(job.config)


def _of_aws(service: Service, job: SourceJob) -> Source:
    def open_stop(stop: Stop, identity: Identity | None, cautious: bool) -> AwsSource:  # noqa: FBT001
        is_renewed = identity is not job.identity  # by an earlier stop of this fetch
        return AwsSource(
            service,
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
