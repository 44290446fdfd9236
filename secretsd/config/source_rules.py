"""What the kind of a source demands of the secrets that come from it. Pure; knows no host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from secretsd.config.names import is_valid_name
from secretsd.config.problems import Problem
from secretsd.config.sources import AwsSecretsManager, AwsSsm, EnvSource, FileSource, VaultSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secretsd.config.models import Bundle, Config, Secret
    from secretsd.config.positions import KeyPath
    from secretsd.config.sources import SourceConfig

# What the sandbox of secretsd.service hides (ProtectHome=, PrivateTmp=, InaccessiblePaths=).
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp", "/dev")  # noqa: S108 - named, not used


def unfit_for_their_source(
    path: KeyPath, bundle: Bundle, sources: Mapping[str, SourceConfig]
) -> Iterator[Problem]:
    """Secrets that their kind of source cannot hold; unknown sources are passed over."""
    for index, secret in enumerate(bundle.secrets):
        source = sources.get(secret.source)
        if source is None:
            continue
        place = (*path, "secrets", index)
        yield from _unfit_versions(place, secret, source)
        if isinstance(source, AwsSsm):
            yield from _unfit_for_parameters(place, secret)
        if isinstance(source, VaultSource) and not is_path_below(secret.id):
            yield Problem(
                (*place, "id"),
                "'id' must be the path of a secret below the mount, such as \"bot/production\"",
            )
        if isinstance(source, FileSource) and not is_path_below(secret.id):
            yield Problem(
                (*place, "id"),
                "'id' must be the path of a file below the source's directory, such as \"bot.json\"",
            )
        if isinstance(source, EnvSource) and not is_valid_name(secret.id):
            yield Problem((*place, "id"), "'id' must be the name of a variable, such as \"BOT_SECRETS\"")


def _unfit_versions(place: KeyPath, secret: Secret, source: SourceConfig) -> Iterator[Problem]:
    for key in _MEANINGLESS[source.type]:
        if key in secret.model_fields_set:
            yield Problem((*place, key), f"{key!r} means nothing here: {_VERSIONS[source.type]}")
    is_numbered = isinstance(source, AwsSsm) or (isinstance(source, VaultSource) and source.kv_version == 2)
    if is_numbered and secret.version is not None and not _NUMBER.fullmatch(secret.version):
        yield Problem((*place, "version"), "'version' must be a number from 1 on, in quotes: \"3\"")
    if isinstance(source, VaultSource) and source.kv_version == 1 and secret.version is not None:
        yield Problem((*place, "version"), "'version' means nothing here: kv_version = 1 keeps no versions")


def _unfit_for_parameters(place: KeyPath, secret: Secret) -> Iterator[Problem]:
    if not _PARAMETER.fullmatch(secret.id):
        what = "'id' must be the name or the ARN of a parameter; 'version' and 'label' have keys of their own"
        yield Problem((*place, "id"), what)
    elif secret.id.startswith("/aws/reference/"):
        what = "'id' leads to another service: give the secret a source of type 'aws-secretsmanager'"
        yield Problem((*place, "id"), what)
    if secret.label is not None and not _LABEL.fullmatch(secret.label):
        what = (
            '\'label\' must be 1 to 100 of A-Z, a-z, 0-9, ".", "_", "-", and start with no digit, aws or ssm'
        )
        yield Problem((*place, "label"), what)


# PutParameter's rules of names and LabelParameterVersion's of labels, in the Systems Manager API Reference.
_PARAMETER = re.compile(
    r"(?:arn:[a-z0-9-]+:ssm:[a-z0-9-]+:[0-9]*:parameter/)?[A-Za-z0-9_.\-/]{1,1011}", re.ASCII
)
_LABEL = re.compile(r"(?!aws|ssm|[0-9])[a-z0-9_.\-]{1,100}", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_MEANINGLESS: Mapping[str, tuple[str, ...]] = {
    "aws-secretsmanager": ("label",),
    "aws-ssm": ("stage",),
    "vault": ("stage", "label"),
    "file": ("stage", "version", "label"),
    "env": ("stage", "version", "label"),
}
_VERSIONS: Mapping[str, str] = {
    "aws-secretsmanager": "Secrets Manager has stages",
    "aws-ssm": "the Parameter Store has labels and versions",
    "vault": "a source of type 'vault' has numbered versions",
    "file": "a source of type 'file' has one version of each",
    "env": "a source of type 'env' has one version of each",
}


def unfit_regions(sources: Mapping[str, SourceConfig]) -> Iterator[Problem]:
    """Failover regions that could not be failed over to."""
    for name, source in sources.items():
        if not isinstance(source, AwsSecretsManager):
            continue
        place = ("sources", name)
        if source.failover_regions and source.region is None:
            what = "'failover_regions' needs 'region' beside it: replicas are never newer than its secrets"
            yield Problem((*place, "failover_regions"), what)
        for index, region in enumerate(source.failover_regions):
            if region == source.region or region in source.failover_regions[:index]:
                yield Problem(
                    (*place, "failover_regions", index), "an element of 'failover_regions' is there already"
                )
        for region in source.failover_endpoint_urls:
            if region not in source.failover_regions:
                yield Problem(
                    (*place, "failover_endpoint_urls", region),
                    f"{region!r} is not one of 'failover_regions'",
                )
        missing = set(source.failover_regions) - source.failover_endpoint_urls.keys()
        if missing and source.region and f".{source.region}." in (source.endpoint_url or ""):
            yield Problem(
                (*place, "endpoint_url"),
                "'endpoint_url' is of one region: give each of 'failover_regions' its own in"
                " 'failover_endpoint_urls'",
            )


def unfit_mounts(sources: Mapping[str, SourceConfig]) -> Iterator[Problem]:
    """Mounts with a slash too many: the server redirects, as a standby redirects everything."""
    for name, source in sources.items():
        if not isinstance(source, VaultSource):
            continue
        mounts = {("mount",): source.mount, ("login", "mount"): getattr(source.login, "mount", "token")}
        for key, mount in mounts.items():
            if not is_path_below(mount):
                yield Problem(
                    ("sources", name, *key),
                    '\'mount\' must be a path without "/" at its ends, such as "secret" or "a/secret"',
                )


def is_path_below(path: str) -> bool:
    """Whether `path` is relative and leads down only, whatever stands in its directories."""
    return "\0" not in path and not {"", ".", ".."} & set(path.split("/"))


def hidden_directories(config: Config) -> Iterator[Problem]:
    """What the installed service cannot see, whatever its mode."""
    if config.foreground:
        return
    for name, source in config.sources.items():
        for key, path in _places(source):
            if f"{path}/".startswith(tuple(f"{hidden}/" for hidden in _HIDDEN)):
                yield Problem(
                    ("sources", name, *key),
                    f"{key[-1]!r} is hidden from secretsd.service by its sandbox: take one below /etc or"
                    " /srv, or run secretsd in the foreground with a runtime_dir of its own",
                )


def _places(source: SourceConfig) -> Iterator[tuple[KeyPath, str]]:
    """What a source reads on this host, by its key."""
    match source:
        case FileSource(directory=directory):
            yield ("directory",), str(directory)
        case VaultSource(address=address, ca_file=ca_file, login=login):
            if address.startswith("unix://"):
                yield ("address",), address.removeprefix("unix://")
            if ca_file is not None:
                yield ("ca_file",), str(ca_file)
            for key in ("token", "secret_id"):
                place = getattr(login, key, "")
                if place.startswith("file:"):
                    yield ("login", key), place.removeprefix("file:")
