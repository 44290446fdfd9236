"""What is allowed and should be seen all the same: on check-config, in the log at start and in status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secretsd.config.sources import EnvSource

if TYPE_CHECKING:
    from secretsd.config.models import Config


def cautions(config: Config) -> tuple[str, ...]:
    """A sentence for each, with its way out. Pure."""
    return tuple(
        f"source {name!r} reads secretsd's own environment, which every process of the daemon's user can read"
        ' in /proc: for development only; use type = "file" or AWS otherwise'
        for name, source in sorted(config.sources.items())
        if isinstance(source, EnvSource)
    )
