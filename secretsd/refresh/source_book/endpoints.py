"""The endpoints that a source can be asked at, in the order of its configuration. Pure."""

from __future__ import annotations

from typing import assert_never

from secretsd.config.sources import (
    AwsSecretsManager,
    AwsSsm,
    EnvSource,
    FileSource,
    SourceConfig,
    VaultSource,
)
from secretsd.model import Stop


def stops(config: SourceConfig) -> tuple[Stop, ...]:
    """The first is the one that a source is asked at when all is well; none for sources of this host."""
    match config:
        case AwsSecretsManager():
            return _regions_of(config)
        case AwsSsm(region=region, endpoint_url=url):
            return (Stop(_named("ssm", region, url), region, url),)
        case VaultSource(address=address):
            return (Stop(address),)
        case FileSource() | EnvSource():
            return ()
    assert_never(config)


def _regions_of(config: AwsSecretsManager) -> tuple[Stop, ...]:
    first = Stop(
        _named("secretsmanager", config.region, config.endpoint_url), config.region, config.endpoint_url
    )
    others = []
    for region in config.failover_regions:
        url = config.failover_endpoint_urls.get(region, config.endpoint_url)
        others.append(Stop(_named("secretsmanager", region, url), region, url, is_primary=False))
    return (first, *others)


def _named(service: str, region: str | None, url: str | None) -> str:
    return " ".join(filter(None, (service, region, url)))
