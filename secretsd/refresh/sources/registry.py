"""The source that a table of the configuration describes. Only the worker and its zygote import this."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from secretsd.config import sources as tables
from secretsd.refresh.sources.aws import session as aws_session
from secretsd.refresh.sources.aws.secretsmanager import AwsSecretsManager
from secretsd.refresh.sources.environment import EnvironmentSource
from secretsd.refresh.sources.files import FileSource

if TYPE_CHECKING:
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
        case tables.AwsSecretsManager(region=region, endpoint_url=endpoint_url):
            return AwsSecretsManager(
                name,
                region=region,
                endpoint_url=endpoint_url,
                identity=job.identity,
                witness=job.witness,
                renew_identity=job.renew_identity,
            )
        case tables.FileSource(directory=directory):
            return FileSource(name, directory=directory)
        case tables.EnvSource():
            return EnvironmentSource()
    assert_never(job.config)
