"""The tables of `[sources]`: where secrets come from, one class for each `type`."""

# Without `from __future__ import annotations`: pydantic reads the annotations when the classes are made.
from typing import Annotated, Literal

from pydantic import Field

from secretsd.config.fields import AbsolutePath, EndpointUrl, Region
from secretsd.config.table import Table


class AwsSecretsManager(Table):
    """Secrets of one account and region of AWS. Credentials never stand here.

    They come from the role of the machine or from the daemon's environment, as for every AWS program.
    """

    type: Literal["aws-secretsmanager"] = Field(
        description="Read from AWS Secrets Manager. An `id` is the name or the ARN of a secret.",
        examples=["aws-secretsmanager"],
    )
    region: Region | None = Field(
        default=None,
        description="The region of the secrets. Without it AWS_REGION of the daemon's environment counts.",
        examples=["us-east-1"],
    )
    endpoint_url: EndpointUrl | None = Field(
        default=None,
        description="Another address than the region's public one, such as a VPC endpoint or a local AWS.",
        examples=["https://vpce-0abc.secretsmanager.us-east-1.vpce.amazonaws.com", "http://127.0.0.1:5000"],
    )


class FileSource(Table):
    """Files of this host, one for each secret; for development and tests.

    A file holds a JSON object or a plain value, at most 64 KiB, byte by byte: a line end at its end belongs
    to the value. A file that everybody may write to is refused.
    """

    type: Literal["file"] = Field(
        description="Read files below `directory`. An `id` is a path relative to it.",
        examples=["file"],
    )
    directory: AbsolutePath = Field(
        description="The directory of the files. Links are followed as long as they stay inside it.",
        examples=["/etc/secretsd/development"],
    )


class EnvSource(Table):
    """The environment of the daemon itself; for development only.

    A process's environment can be read in /proc by every process of its user, and changes with a restart
    only. The daemon warns for as long as such a source is configured.
    """

    type: Literal["env"] = Field(
        description="Read variables of the daemon's environment. An `id` is the name of a variable, which"
        " holds a JSON object or a plain value.",
        examples=["env"],
    )


SourceConfig = AwsSecretsManager | FileSource | EnvSource
AnySource = Annotated[SourceConfig, Field(discriminator="type")]
