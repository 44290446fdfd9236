"""The tables of `[sources]`: where secrets come from, one class for each `type`."""

# Without `from __future__ import annotations`: pydantic reads the annotations when the classes are made.
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from secretsd.config.fields import (
    AbsolutePath,
    CredentialPlace,
    EndpointUrl,
    Interval,
    Region,
    Several,
    Text,
    VaultAddress,
)
from secretsd.config.table import Table, beside


class Push(Table):
    """A queue of SQS that tells of new versions about a second after they were made.

    `secretsctl aws-setup --push` prints the CloudFormation template that makes the queue and what feeds it.
    """

    queue_url: EndpointUrl = Field(
        description="The URL of the queue. No other host may read from it: each message is read once.",
        examples=["https://sqs.us-east-1.amazonaws.com/111122223333/secretsd-host-1"],
    )
    refresh_interval_s: Interval = Field(
        default=1800.0,
        alias="refresh_interval",
        description="How often bundles are refreshed while the queue answers, where their own interval is"
        " shorter. While it does not, they are refreshed by their own.",
        examples=["30m"],
        json_schema_extra=beside(
            queue_url="https://sqs.us-east-1.amazonaws.com/111122223333/secretsd-host-1"
        ),
    )
    endpoint_url: EndpointUrl | None = Field(
        default=None,
        description="Another address of SQS than the region's public one.",
        examples=["http://127.0.0.1:5000"],
        json_schema_extra=beside(
            queue_url="https://sqs.us-east-1.amazonaws.com/111122223333/secretsd-host-1"
        ),
    )


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
    failover_regions: Several[Region] = Field(
        default=(),
        description="Regions that hold replicas of the secrets. They are asked, in this order, when the"
        " region answers with an error of its own (5xx), does not answer in time or cannot be reached; never"
        " when it refuses. What they hold is published only if it is not older than what is published.",
        examples=[["us-west-2"]],
        json_schema_extra=beside(region="us-east-1"),
    )
    failover_endpoint_urls: Mapping[Region, EndpointUrl] = Field(
        default_factory=dict,
        description="As `endpoint_url`, for failover regions. Without an entry here `endpoint_url` holds for"
        " them, too.",
        examples=[{"us-west-2": "https://vpce-0def.secretsmanager.us-west-2.vpce.amazonaws.com"}],
        json_schema_extra=beside(region="us-east-1", failover_regions=["us-west-2"]),
    )
    push: Push | None = Field(
        default=None,
        description="Where new versions are told of. Without it they are found by refreshing alone.",
        examples=[{"queue_url": "https://sqs.us-east-1.amazonaws.com/111122223333/secretsd-host-1"}],
    )


class AwsSsm(Table):
    """Parameters of the Parameter Store of AWS Systems Manager, of one account and region.

    A SecureString comes decrypted, a String as it is, a StringList with its commas. The role needs
    ssm:GetParameters on them, and kms:Decrypt on the key of a SecureString where it is a customer's.
    """

    type: Literal["aws-ssm"] = Field(
        description="Read from the Parameter Store. An `id` is the name or the ARN of a parameter.",
        examples=["aws-ssm"],
    )
    region: Region | None = Field(
        default=None,
        description="The region of the parameters. Without it AWS_REGION of the daemon's environment counts.",
        examples=["us-east-1"],
    )
    endpoint_url: EndpointUrl | None = Field(
        default=None,
        description="Another address than the region's public one, such as a VPC endpoint or a local AWS.",
        examples=["https://vpce-0abc.ssm.us-east-1.vpce.amazonaws.com", "http://127.0.0.1:5000"],
    )


class VaultTokenLogin(Table):
    """A token that somebody else keeps fresh, such as an agent or a systemd credential."""

    method: Literal["token"] = Field(
        description="The token itself stands in a file or a credential.", examples=["token"]
    )
    token: CredentialPlace = Field(
        description="Where the token is, read anew for each refresh: credential:NAME of the service, or"
        " file:PATH.",
        examples=["file:/run/openbao-agent/token", "credential:vault-token"],
    )


class VaultAppRoleLogin(Table):
    """AppRole: a role's id, and its secret id as the credential."""

    method: Literal["approle"] = Field(description="Log in by AppRole.", examples=["approle"])
    role_id: Text = Field(description="The role's id.", examples=["11111111-2222-3333-4444-555555555555"])
    secret_id: CredentialPlace = Field(
        description="Where the secret id is: credential:NAME of the service, or file:PATH.",
        examples=["credential:vault-secret-id"],
    )
    mount: Text = Field(
        default="approle", description="Where the auth method is mounted.", examples=["approle"]
    )


class VaultAwsLogin(Table):
    """The role of the instance, proven by a signed request that STS answers to the server."""

    method: Literal["aws-iam"] = Field(
        description="Log in by the AWS role of this host, with the auth method aws of type iam.",
        examples=["aws-iam"],
    )
    role: Text = Field(description="The role of the auth method.", examples=["trading-host"])
    region: Region = Field(
        default="us-east-1",
        description="The region whose STS the signed request is for: the one that the server asks.",
        examples=["us-east-1"],
    )
    mount: Text = Field(default="aws", description="Where the auth method is mounted.", examples=["aws"])
    server_id: Text | None = Field(
        default=None,
        description="The X-Vault-AWS-IAM-Server-ID header, where the server asks for one.",
        examples=["vault.example.com"],
    )


VaultLogin = Annotated[VaultTokenLogin | VaultAppRoleLogin | VaultAwsLogin, Field(discriminator="method")]


class VaultSource(Table):
    """A key-value engine of OpenBao or HashiCorp Vault."""

    type: Literal["vault"] = Field(
        description="Read from OpenBao or HashiCorp Vault. An `id` is the path of a secret below `mount`; its"
        " keys and values are the JSON object.",
        examples=["vault"],
    )
    address: VaultAddress = Field(
        description="The server: https://HOST:PORT, http:// for tests, or unix:// with the path of a socket.",
        examples=["https://vault.example.com:8200", "unix:///run/openbao/api.sock"],
    )
    namespace: Text | None = Field(
        default=None, description="The namespace of the mount.", examples=["trading"]
    )
    ca_file: AbsolutePath | None = Field(
        default=None,
        description="The certificates of the authorities that the server's is checked against. Without it the"
        " system's.",
        examples=["/etc/secretsd/vault-ca.pem"],
    )
    mount: Text = Field(default="secret", description="Where the engine is mounted.", examples=["secret"])
    kv_version: Literal[1, 2] = Field(
        default=2, description="The version of the key-value engine.", examples=[2]
    )
    login: VaultLogin = Field(
        description='Who secretsd is there: method "token" with `token`, "approle" with `role_id` and'
        ' `secret_id`, or "aws-iam" with `role`.',
        examples=[{"method": "token", "token": "file:/run/openbao-agent/token"}],
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


SourceConfig = AwsSecretsManager | AwsSsm | VaultSource | FileSource | EnvSource
AnySource = Annotated[SourceConfig, Field(discriminator="type")]
