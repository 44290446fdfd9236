"""What is allowed and should be seen all the same: on check-config, in the log at start and in status."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from secretsd.config.sources import EnvSource

if TYPE_CHECKING:
    from secretsd.config.models import Config


def cautions(config: Config) -> tuple[str, ...]:
    """A sentence for each, with its way out. Pure."""
    return (*_sources(config), *_seal_key(config))


def _sources(config: Config) -> Iterator[str]:
    for name, source in sorted(config.sources.items()):
        if isinstance(source, EnvSource):
            yield (
                f"source {name!r} reads secretsd's own environment, which every process of the daemon's user"
                ' can read in /proc: for development only; use type = "file" or AWS otherwise'
            )


def _seal_key(config: Config) -> Iterator[str]:
    key = config.daemon.seal_key
    if key is not None and key.startswith("file:") and not config.foreground:
        yield (
            "seal_key lies in clear on this host's disk, beside the copies that it opens: for development"
            ' only; use seal_key = "credential:secretsd-seal-key" and secretsctl seal-setup'
        )
