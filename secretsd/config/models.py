"""What the configuration says, as frozen values.

The attributes have the names of the keys, which are the contract's; time spans are seconds and end in _s.
"""

# Without `from __future__ import annotations`: pydantic reads the annotations when the classes are made.
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from secretsd.config.fields import (
    AbsolutePath,
    Bits,
    BundleName,
    Count,
    EndpointUrl,
    Interval,
    Name,
    NotEmpty,
    Number,
    OneOrMore,
    OutputPath,
    Regex,
    Region,
    Several,
    SignalName,
    SocketPath,
    Text,
    TimeSpan,
    UnitName,
    UserName,
    VariableName,
    refused,
)
from secretsd.model import CURRENT_STAGE, SecretRef

INSTALLED_RUNTIME_DIR = Path("/run/secretsd")
CONTROL_SOCKET_NAME = "control.sock"


class Table(BaseModel):
    """A table of the configuration: no other keys, no conversion of types, no change later."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        validate_default=False,
    )


class Daemon(Table):
    """The `[daemon]` table: what holds for all bundles, and where the daemon lives."""

    refresh_interval_s: Interval = Field(default=300.0, alias="refresh_interval")
    refresh_jitter_s: TimeSpan = Field(default=30.0, alias="refresh_jitter")  # adds 0 up to this
    runtime_dir: AbsolutePath = INSTALLED_RUNTIME_DIR
    state_dir: AbsolutePath = Path("/var/lib/secretsd")
    control_socket: SocketPath = Field(default_factory=lambda data: data["runtime_dir"] / CONTROL_SOCKET_NAME)
    notify_socket: SocketPath = Path("/run/secretsd-notify.sock")


class AwsSecretsManager(Table):
    """A `[sources.NAME]` table of this type; what is not set comes from the environment, as for every SDK."""

    type: Literal["aws-secretsmanager"]
    region: Region | None = None
    endpoint_url: EndpointUrl | None = None


# With a second type of source this becomes a union that `type` tells apart.
SourceConfig = AwsSecretsManager


class Secret(Table):
    """An entry of `secrets`: which secret, and which variables come out of it.

    With `variable` the whole value is one variable; with `variables` they are keys of a JSON object, by
    variable name; with neither, the bundle's own table of variables says which keys are taken.
    """

    source: Text
    id: Text
    stage: Text = CURRENT_STAGE
    version: Text | None = None
    variable: VariableName | None = None
    variables: Annotated[Mapping[VariableName, Text], NotEmpty] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_way_each(self) -> Self:
        if self.version is not None and "stage" in self.model_fields_set:
            raise refused("stage and version exclude each other: a version is one, whatever its stage")
        if self.variable is not None and self.variables:
            raise refused("variable and variables exclude each other: the first takes the value as a whole")
        return self

    @property
    def ref(self) -> SecretRef:
        return SecretRef(self.source, self.id, self.stage, self.version)

    @property
    def names(self) -> frozenset[str]:
        """The variables that this entry itself names."""
        return frozenset(self.variables if self.variable is None else (self.variable,))


class VariableRule(Table):
    """An entry of `variables`: what a variable's value must satisfy before the bundle is published."""

    required: bool = True
    default: str | None = None
    type: Literal["string", "integer", "decimal", "boolean"] = "string"
    min: Number | None = None
    max: Number | None = None
    min_length: Count | None = None
    max_length: Count | None = None
    min_entropy_bits: Bits | None = None
    choices: OneOrMore[str] | None = None
    pattern: Regex | None = None

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.default is not None and not self.required:
            raise refused("default and required = false exclude each other: a default is never missing")
        if self.type not in ("integer", "decimal") and (self.min is not None or self.max is not None):
            raise refused(
                'min and max need type = "integer" or "decimal"; a length has min_length, max_length'
            )
        if _crossed(self.min, self.max):
            raise refused("min is above max: no value can satisfy both")
        if _crossed(self.min_length, self.max_length):
            raise refused("min_length is above max_length: no value can satisfy both")
        return self

    @cached_property
    def compiled_pattern(self) -> re.Pattern[str] | None:
        """To be matched with `fullmatch`."""
        return None if self.pattern is None else re.compile(self.pattern)


class Output(Table):
    """An entry of `outputs`: a file of the bundle, or with format "files" a directory of files."""

    path: OutputPath
    format: Literal["env", "docker", "dotenv", "node", "universal", "json", "files"] = Field(
        description="Who reads the file: env for systemd and every POSIX shell, docker for docker and podman"
        " --env-file, dotenv for python-dotenv and pydantic-settings, node for node --env-file, universal for"
        " systemd, shells, python-dotenv and node alike, json for one object of strings. files makes the path"
        " a directory with one file for each variable, which holds exactly its bytes.",
        examples=["env"],
    )


class OnChange(Table):
    """An entry of `on_change`: what happens to a unit when its bundle has changed."""

    unit: UnitName
    action: Literal["reload", "restart", "signal", "none"]
    signal: SignalName | None = None
    confirm_s: TimeSpan = Field(default=2.0, alias="confirm")  # the unit must still be active after this long
    require_ack: bool = False

    @model_validator(mode="after")
    def _signal_goes_with_its_action(self) -> Self:
        if self.action == "signal" and self.signal is None:
            raise refused('action = "signal" needs signal = "SIGHUP" or another one that the bot handles')
        if self.action != "signal" and self.signal is not None:
            raise refused('signal goes with action = "signal" only', key="signal")
        return self


class Bundle(Table):
    """A `[bundles.NAME]` table: secrets that are published together, for one user."""

    owner: UserName | None = None  # None: the user who runs the daemon, in the foreground only
    on_refusal: Literal["keep", "withdraw"] = "keep"
    refresh_interval_s: Interval | None = Field(default=None, alias="refresh_interval")
    import_all: bool = False
    secrets: OneOrMore[Secret]
    variables: Mapping[VariableName, VariableRule] = Field(default_factory=dict)
    outputs: OneOrMore[Output] = (Output(path="env", format="env"),)
    on_change: Several[OnChange] = ()

    @cached_property
    def mapped_names(self) -> frozenset[str]:
        """The variables that a secret's own `variable` or `variables` names."""
        return frozenset().union(*(secret.names for secret in self.secrets))

    @cached_property
    def wanted_names(self) -> frozenset[str]:
        """The allow-list: every variable that the bundle names. `import_all` adds what it finds."""
        return self.mapped_names | self.variables.keys()

    def secret_of(self, variable: str) -> Secret | None:
        """The secret that alone can give `variable`; None where several objects could hold it."""
        naming = [secret for secret in self.secrets if variable in secret.names]
        open_secrets = [secret for secret in self.secrets if not secret.names]
        candidates = naming or open_secrets
        return candidates[0] if len(candidates) == 1 else None


class Config(Table):
    """The whole configuration."""

    daemon: Daemon = Field(default_factory=Daemon)
    sources: Mapping[Name, SourceConfig] = Field(default_factory=dict)
    bundles: Mapping[BundleName, Bundle] = Field(default_factory=dict)

    @property
    def foreground(self) -> bool:
        """Whether this is not the installed service but a daemon that someone runs for themselves."""
        return self.daemon.runtime_dir != INSTALLED_RUNTIME_DIR

    def interval_s(self, bundle: str) -> float:
        """How often a bundle is refreshed when all is well."""
        return self.bundles[bundle].refresh_interval_s or self.daemon.refresh_interval_s


def _crossed(low: Decimal | int | None, high: Decimal | int | None) -> bool:
    return low is not None and high is not None and low > high
