"""What is allowed and should be seen all the same: on check-config, in the log at start and in status."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from secretsd.config.sources import EnvSource, VaultSource

if TYPE_CHECKING:
    from secretsd.config.models import Config
    from secretsd.config.sources import SourceConfig


def cautions(config: Config) -> tuple[str, ...]:
    """A sentence for each, with its way out. Pure."""
    return (*_sources(config), *_seal_key(config))


def _sources(config: Config) -> Iterator[str]:
    for name, source in sorted(config.sources.items()):
        if caution := _caution(source):
            yield f"source {name!r} {caution}"


def _caution(source: SourceConfig) -> str:
    match source:
        case EnvSource():
            return (
                "reads secretsd's own environment, which every process of the daemon's user can read in"
                ' /proc: for development only; use type = "file" or AWS otherwise'
            )
        case VaultSource(address=address) if _is_in_the_clear(address):
            return (
                "sends its token and gets its secrets in the clear: for development only; use https:// with"
                " ca_file, or unix://, otherwise"
            )
    return ""


def _is_in_the_clear(address: str) -> bool:
    """Whether everybody on the way can read along; to this host itself there is no way."""
    url = urlsplit(address)
    return url.scheme == "http" and url.hostname not in ("127.0.0.1", "::1", "localhost")


def _seal_key(config: Config) -> Iterator[str]:
    key = config.daemon.seal_key
    if key is not None and key.startswith("file:") and not config.foreground:
        yield (
            "seal_key lies in clear on this host's disk, beside the copies that it opens: for development"
            ' only; use seal_key = "credential:secretsd-seal-key" and secretsctl seal-setup'
        )
