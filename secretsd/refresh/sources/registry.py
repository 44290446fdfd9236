"""The sources by the `type` that a configuration gives them. Only the worker and its zygote import this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from secretsd.refresh.sources import aws_secretsmanager, aws_session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secretsd.model import CloudIdentity, SecretRef
    from secretsd.refresh.messages import SourceJob
    from secretsd.refresh.sources.interface import Source


class SourceFactory(Protocol):
    """Makes a source that has not yet contacted anything."""

    def __call__(
        self,
        name: str,
        *,
        region: str | None,
        endpoint_url: str | None,
        identity: CloudIdentity | None,
        witness: SecretRef | None,
        renew_identity: bool = False,
    ) -> Source: ...


SOURCES: Mapping[str, SourceFactory] = {
    "aws-secretsmanager": aws_secretsmanager.AwsSecretsManager,
}


def preload() -> None:
    """Warm whatever the sources share: the zygote calls this once, before any secret exists.

    Reads no real credential, starts no thread, opens no connection.
    """
    aws_session.preload()


def open_source(name: str, job: SourceJob) -> Source:
    """The source that `job` describes; contacts nothing yet."""
    return SOURCES[job.config.type](
        name,
        region=job.config.region,
        endpoint_url=job.config.endpoint_url,
        identity=job.identity,
        witness=job.witness,
        renew_identity=job.renew_identity,
    )
