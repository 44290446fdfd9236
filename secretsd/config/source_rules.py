"""What the kind of a source demands of the secrets that come from it. Pure; knows no host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secretsd.config.names import is_valid_name
from secretsd.config.problems import Problem
from secretsd.config.sources import AwsSecretsManager, EnvSource, FileSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from secretsd.config.models import Bundle, Config
    from secretsd.config.positions import KeyPath
    from secretsd.config.sources import SourceConfig

# What the sandbox of secretsd.service hides (ProtectHome=, PrivateTmp=, InaccessiblePaths=).
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp", "/dev")  # noqa: S108 - named, not used


def unfit_for_their_source(
    path: KeyPath, bundle: Bundle, sources: Mapping[str, SourceConfig]
) -> Iterator[Problem]:
    """Secrets that a file or a variable of the environment cannot be; unknown sources are passed over."""
    for index, secret in enumerate(bundle.secrets):
        source = sources.get(secret.source)
        if source is None or isinstance(source, AwsSecretsManager):
            continue
        place = (*path, "secrets", index)
        for key in ("stage", "version"):
            if key in secret.model_fields_set:
                what = f"{key!r} means nothing here: a source of type {source.type!r} has one version of each"
                yield Problem((*place, key), what)
        if isinstance(source, FileSource) and not is_path_below(secret.id):
            yield Problem(
                (*place, "id"),
                "'id' must be the path of a file below the source's directory, such as \"bot.json\"",
            )
        if isinstance(source, EnvSource) and not is_valid_name(secret.id):
            yield Problem((*place, "id"), "'id' must be the name of a variable, such as \"BOT_SECRETS\"")


def is_path_below(path: str) -> bool:
    """Whether `path` is relative and leads down only, whatever stands in its directories."""
    return "\0" not in path and not {"", ".", ".."} & set(path.split("/"))


def hidden_directories(config: Config) -> Iterator[Problem]:
    """Directories that the installed service cannot see, whatever their mode."""
    if config.foreground:
        return
    for name, source in config.sources.items():
        if isinstance(source, FileSource) and f"{source.directory}/".startswith(
            tuple(f"{d}/" for d in _HIDDEN)
        ):
            yield Problem(
                ("sources", name, "directory"),
                "'directory' is hidden from secretsd.service by its sandbox: take one below /etc or /srv, or"
                " run secretsd in the foreground with a runtime_dir of its own",
            )
