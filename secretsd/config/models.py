"""What the configuration says, as frozen values.

The attributes have the names of the keys, which are the contract's; time spans are seconds and end in _s.
Each field's description and examples are what secretsd.toml(5) says of it.
"""

# Without `from __future__ import annotations`: pydantic reads the annotations when the classes are made.
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, LiteralString, Self

from pydantic import Field, model_validator

from secretsd.config.audit import Audit
from secretsd.config.fields import (
    AbsolutePath,
    AlertLimit,
    BundleName,
    CommandOrNone,
    CounterPlace,
    CredentialPlace,
    Group,
    Interval,
    Name,
    NotEmpty,
    OneOrMore,
    OutputPath,
    Several,
    SocketPath,
    Text,
    TimeSpan,
    UserName,
    VariableName,
    refused,
)
from secretsd.config.observe import METRICS_SOCKET_NAME, Metrics
from secretsd.config.on_change import OnChange
from secretsd.config.signer import Signer
from secretsd.config.sources import AnySource
from secretsd.config.table import Table, beside
from secretsd.config.unusual import Unusual
from secretsd.config.variables import VariableRule
from secretsd.model import CURRENT_STAGE, SecretRef

INSTALLED_RUNTIME_DIR = Path("/run/secretsd")
CONTROL_SOCKET_NAME = "control.sock"


class Daemon(Table):
    """What holds for all bundles, and where the daemon lives."""

    refresh_interval_s: Interval = Field(
        default=300.0,
        alias="refresh_interval",
        description="How often each bundle is refreshed. A bundle may set its own.",
        examples=["5m"],
    )
    refresh_jitter_s: TimeSpan = Field(
        default=30.0,
        alias="refresh_jitter",
        description="Each wait is longer by a random part of this, so that many hosts do not ask at once.",
        examples=["30s", "0"],
    )
    runtime_dir: AbsolutePath = Field(
        default=INSTALLED_RUNTIME_DIR,
        description="Where files are published; it must be on memory that cannot be swapped. Another"
        " directory than the default means a daemon in the foreground, for the user who started it.",
        examples=["/dev/shm/my-secretsd"],  # noqa: S108 - an example
    )
    state_dir: AbsolutePath = Field(
        default=Path("/var/lib/secretsd"),
        description="Where the journal is kept: which generation was published, and which unit has loaded it;"
        " and sealed copies. It never holds a value in clear.",
        examples=["/home/me/.local/state/secretsd"],
    )
    control_socket: SocketPath = Field(
        default_factory=lambda data: data["runtime_dir"] / CONTROL_SOCKET_NAME,
        description="The socket for secretsctl; by default control.sock in `runtime_dir`.",
        examples=["/run/secretsd/control.sock"],
    )
    notify_socket: SocketPath = Field(
        default=Path("/run/secretsd-notify.sock"),
        description="The socket of the root helper that acts on units.",
        examples=["/run/secretsd-notify.sock"],
    )
    alert_command: CommandOrNone = Field(
        default=(),
        description="A program that is run when a bundle gets into trouble or out of it, with the event as a "
        "JSON object on its standard input. A bundle's own alert_command takes its place.",
        examples=[["/usr/local/bin/secretsd-slack"]],
    )
    alert_after_s: TimeSpan = Field(
        default=120.0,
        alias="alert_after",
        description="How long a trouble that may pass by itself (the source is away, the credentials are not "
        "accepted, a unit failed to load its files) must last before it is told. Refusals, bad data and "
        "altered files are told at once; a unit that has not failed, only not loaded yet, has a minute.",
        examples=["2m"],
    )
    seal_key: CredentialPlace | None = Field(
        default=None,
        description="The key of sealed copies: credential:NAME of the service, or file:PATH. `secretsctl"
        " seal-setup` makes it, once, as root.",
        examples=["credential:secretsd-seal-key"],
    )
    seal_counter: CounterPlace | None = Field(
        default=None,
        description="The counter of the TPM that sealed copies are bound to: who restores an older disk then"
        " brings back no older copy. `secretsctl seal-setup --counter` makes it. It needs `seal_key`.",
        examples=["tpm:0x1800e5d"],
        json_schema_extra=beside(seal_key="credential:secretsd-seal-key"),
    )
    alert_limit: AlertLimit = Field(
        default=20,
        description="At most this many runs of alert_command an hour for one bundle, half of them at once; "
        "for all bundles together five times as many. What is held back is told later if it is still true, "
        "and counted in the next event if not.",
        examples=[20],
    )


class Secret(Table):
    """Which secret, and which variables come out of it.

    With `variable` the whole value is one variable; with `variables` they are keys of a JSON object, by
    variable name; with neither, the bundle's own table of variables says which keys are taken.
    """

    source: Text = Field(description="The name of a table of `[sources]`.", examples=["aws"])
    id: Text = Field(
        description="Which secret of the source: a name or an ARN in AWS, a relative path in a directory, a"
        " variable of the environment.",
        examples=["trading-bot/production"],
    )
    stage: Text = Field(
        default=CURRENT_STAGE,
        description="The stage of the version to read, for sources of type aws-secretsmanager.",
        examples=["AWSPENDING"],
    )
    version: Text | None = Field(
        default=None,
        description="The one version to read, instead of the current one, for sources that have versions: an"
        " id in Secrets Manager, a number elsewhere.",
        examples=["11111111-2222-3333-4444-555555555555", "3"],
    )
    label: Text | None = Field(
        default=None,
        description="The label of the version to read, for sources of type aws-ssm.",
        examples=["live"],
        json_schema_extra=beside(source="ssm", variable="OTHER"),
    )
    variable: VariableName | None = Field(
        default=None,
        description="Publish the whole value, JSON or not, as this variable.",
        examples=["LICENSE_KEY"],
    )
    variables: Annotated[Mapping[VariableName, Text], NotEmpty] = Field(
        default_factory=dict,
        description="Publish these variables from these keys of the JSON object, and no others of it.",
        examples=[{"BYBIT_API_KEY": "api_key", "BYBIT_API_SECRET": "api_secret"}],
    )

    @model_validator(mode="after")
    def _one_way_each(self) -> Self:
        conflicts: list[LiteralString] = []
        if self.version is not None and "stage" in self.model_fields_set:
            conflicts.append("stage and version exclude each other: a version is one, whatever its stage")
        if self.label is not None and (self.version is not None or "stage" in self.model_fields_set):
            conflicts.append("label excludes stage and version: each of them says which version is read")
        if self.variable is not None and self.variables:
            conflicts.append(
                "variable and variables exclude each other: the first takes the value as a whole"
            )
        if conflicts:
            raise refused(conflicts[0], also=conflicts[1:])
        return self

    @property
    def ref(self) -> SecretRef:
        return SecretRef(self.source, self.id, self.label or self.stage, self.version)

    @property
    def names(self) -> frozenset[str]:
        """The variables that this entry itself names."""
        return frozenset(self.variables if self.variable is None else (self.variable,))


class Output(Table):
    """A file of the bundle, or with format "files" a directory of files."""

    path: OutputPath = Field(
        description="The path of the file, or of the directory, inside of the bundle's directory,"
        " /run/secretsd/NAME.",
        examples=["env"],
    )
    format: Literal["env", "docker", "dotenv", "node", "universal", "json", "files"] = Field(
        description="Who reads the file: env for systemd and every POSIX shell, docker for docker and podman"
        " --env-file, dotenv for python-dotenv and pydantic-settings, node for node --env-file, universal for"
        " systemd, shells, python-dotenv and node alike, json for one object of strings. files makes the path"
        " a directory with one file for each variable, which holds exactly its bytes.",
        examples=["env"],
    )


class SealedCopy(Table):
    """The last known good bundle, sealed on the disk, for a boot while the source is out."""

    max_age_s: Interval = Field(
        default=604800.0,
        alias="max_age",
        description="How long after its source has last confirmed it a copy may still be published.",
        examples=["7d"],
    )


class Bundle(Table):
    """Secrets that are published together, for one user.

    All of its files change at once; with one bad secret the whole bundle stays as it is.
    """

    owner: UserName | None = Field(
        default=None,
        description="The user who may read the files. It may be left out in the foreground only, where files"
        " are those of the user who runs the daemon.",
        examples=["trading-bot"],
    )
    on_refusal: Literal["keep", "withdraw"] = Field(
        default="keep",
        description="What happens where the source says that a secret is gone or that access to it was taken"
        " away: the last good files stay, or they are withdrawn.",
        examples=["withdraw"],
    )
    refresh_interval_s: Interval | None = Field(
        default=None,
        alias="refresh_interval",
        description="How often this bundle is refreshed; by default as `[daemon]` says.",
        examples=["1m"],
    )
    max_age_s: Interval | None = Field(
        default=None,
        alias="max_age",
        description="How long published content may go without being confirmed by its source. Beyond it"
        " `secretsctl wait` lets no unit start on it, unless called with --allow-stale; the files stay. An"
        " alert comes at three quarters of it. Without it content never gets too old.",
        examples=["3d"],
    )
    sealed_copy: SealedCopy | None = Field(
        default=None,
        description="Whether the bundle is kept sealed on this host's disk, so that a boot while the source"
        " is out can publish it. It needs `seal_key` in [daemon].",
        examples=[{"max_age": "7d"}],
    )
    import_all: bool = Field(
        default=False,
        description="Whether every key of the bundle's JSON objects that can be a variable is published, not"
        " only what is listed. Names that would run code or redirect a program are never taken.",
        examples=[True],
    )
    secrets: OneOrMore[Secret] = Field(
        description="The secrets that the bundle is made of.",
        examples=[[{"source": "aws", "id": "trading-bot/production"}]],
    )
    variables: Mapping[VariableName, VariableRule] = Field(
        default_factory=dict,
        description="The list of what is published, and the rules for each. What a secret holds beyond it is"
        " reported, not published.",
        examples=[{"API_KEY": {"min_length": 16}, "TRADING_MODE": {"choices": ["paper", "live"]}}],
    )
    groups: Several[Group] = Field(
        default=(),
        description="Variables that belong together: either each of a group has a value or none has."
        " They need no required = false of their own.",
        examples=[[["BYBIT_API_KEY", "BYBIT_API_SECRET"]]],
        json_schema_extra=beside(variables={"BYBIT_API_KEY": {}, "BYBIT_API_SECRET": {}}),
    )
    outputs: OneOrMore[Output] = Field(
        default=(Output(path="env", format="env"),),
        description="The files that are published; by default one, named env, of format env.",
        examples=[[{"path": "env", "format": "env"}]],
    )
    on_change: Several[OnChange] = Field(
        default=(),
        description="The units that are told of a change.",
        examples=[[{"unit": "trading-bot.service", "action": "reload"}]],
    )
    alert_command: CommandOrNone | None = Field(
        default=None,
        description="As alert_command in [daemon], for this bundle alone; an empty list tells nobody.",
        examples=[["/usr/local/bin/secretsd-mail", "desk@example.com"]],
    )
    alert_after_s: TimeSpan | None = Field(
        default=None,
        alias="alert_after",
        description="As alert_after in [daemon], for this bundle alone.",
        examples=["30s"],
    )

    @cached_property
    def mapped_names(self) -> frozenset[str]:
        """The variables that a secret's own `variable` or `variables` names."""
        return frozenset().union(*(secret.names for secret in self.secrets))

    @cached_property
    def wanted_names(self) -> frozenset[str]:
        """The allow-list: every variable that the bundle names. `import_all` adds what it finds."""
        return self.mapped_names | self.variables.keys()

    @cached_property
    def grouped_names(self) -> frozenset[str]:
        """The variables that may be missing as long as their whole group is."""
        return frozenset().union(*self.groups)

    def secret_of(self, variable: str) -> Secret | None:
        """The secret that alone can give `variable`; None where several objects could hold it."""
        naming = [secret for secret in self.secrets if variable in secret.names]
        open_secrets = [secret for secret in self.secrets if not secret.names]
        candidates = naming or open_secrets
        return candidates[0] if len(candidates) == 1 else None


class Config(Table):
    """The whole configuration."""

    daemon: Daemon = Field(
        default_factory=Daemon,
        description="What holds for all bundles.",
        examples=[{"refresh_interval": "5m"}],
    )
    sources: Mapping[Name, AnySource] = Field(
        default_factory=dict,
        description="Where secrets come from, by names of your choice.",
        examples=[{"aws": {"type": "aws-secretsmanager", "region": "us-east-1"}}],
    )
    bundles: Mapping[BundleName, Bundle] = Field(
        default_factory=dict,
        description="What is published, by the names of the directories below /run/secretsd.",
        examples=[
            {
                "trading-bot": {
                    "owner": "trading-bot",
                    "secrets": [{"source": "aws", "id": "trading-bot/production", "variable": "TOKEN"}],
                }
            }
        ],
    )

    metrics: Metrics = Field(
        default_factory=Metrics,
        description="Where metrics and health are served.",
        examples=[{"listen": "127.0.0.1:9478"}],
    )
    audit: Audit = Field(
        default_factory=Audit,
        description="How the audit trails are kept, and where they are shipped to.",
        examples=[{"max_file_size": "64M"}],
    )
    unusual: Unusual = Field(
        default_factory=Unusual,
        description="What counts as an unusual access.",
        examples=[{"learning": "1d"}],
    )
    signer: Signer | None = Field(
        default=None,
        description="The signing service; without it secretsd-signer has nothing to do.",
        examples=[
            {
                "module": "/usr/lib/softhsm/libsofthsm2.so",
                "token": "trading",
                "pin": "credential:hsm-pin",
            }
        ],
    )

    @property
    def foreground(self) -> bool:
        """Whether this is not the installed service but a daemon that someone runs for themselves."""
        return self.daemon.runtime_dir != INSTALLED_RUNTIME_DIR

    @property
    def metrics_socket(self) -> Path:
        """Where the refresher serves metrics and health."""
        return self.metrics.socket or self.daemon.runtime_dir / METRICS_SOCKET_NAME

    def interval_s(self, bundle: str) -> float:
        """How often a bundle is refreshed when all is well."""
        return self.bundles[bundle].refresh_interval_s or self.daemon.refresh_interval_s

    def alert_command(self, bundle: str) -> tuple[str, ...]:
        """Who is told of the bundle's troubles; empty for nobody. Of one that is gone: the daemon's."""
        own = self.bundles[bundle].alert_command if bundle in self.bundles else None
        return self.daemon.alert_command if own is None else own

    def alert_after_s(self, bundle: str) -> float:
        """How long a trouble of the bundle that may pass by itself must last before it is told."""
        own = self.bundles[bundle].alert_after_s
        return self.daemon.alert_after_s if own is None else own
