"""What the operator reads about a fault of AWS: one sentence for what is wrong, one for the fix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from secretsd.errors import Failure, FailureClass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secretsd.model import SecretRef
    from secretsd.refresh.sources.faults import Fault

_RETRIED = "Nothing to do if it passes: the last good bundle stays and the next refresh tries again."


@dataclass(frozen=True, slots=True)
class _Text:
    """Two sentences in which {secret}, {id} and {source} stand for configured names."""

    message: str
    advice: str


_TEXTS: Mapping[str, _Text] = {
    "throttled": _Text(
        message="AWS throttles the calls of source {source}; {secret} was not read",
        advice=_RETRIED + " If it stays: raise refresh_interval or refresh_jitter, or find who else reads in "
        "this account (BatchGetSecretValue: 100 calls a second per account and region).",
    ),
    "server-error": _Text(
        message="Secrets Manager answered with an error of its own for {secret}",
        advice=_RETRIED + " If it stays: see the AWS Health Dashboard for this region.",
    ),
    "incomplete-answer": _Text(
        message="the answer of Secrets Manager for {secret} was not whole, so it was not used",
        advice=_RETRIED + " If it stays: look for a proxy, a firewall or a wrong endpoint_url between this "
        "machine and Secrets Manager.",
    ),
    "unreachable": _Text(
        message="Secrets Manager could not be reached for {secret}",
        advice=_RETRIED + " If it stays: check DNS, route, security group, VPC endpoint and the source's "
        "endpoint_url.",
    ),
    "tls-failed": _Text(
        message="the TLS connection to Secrets Manager failed, {secret} was not read",
        advice="Check the machine's clock, the ca-certificates package, AWS_CA_BUNDLE and the endpoint_url "
        "of source {source}; a proxy that opens TLS needs its CA in AWS_CA_BUNDLE.",
    ),
    "clock-skew": _Text(
        message="AWS refuses the request for {secret} because this machine's clock is wrong",
        advice="Set the clock (timedatectl status; systemctl restart systemd-timesyncd or chrony): AWS "
        "allows 5 minutes.",
    ),
    "metadata-unreachable": _Text(
        message="the instance metadata service gave no credentials (IMDSv2), {secret} was not read",
        advice="Check that the metadata service is enabled with IMDSv2 and a hop limit that reaches this "
        "process (aws ec2 describe-instances, MetadataOptions), and that no firewall closes "
        "169.254.169.254. Outside EC2: give credentials in the environment, and set "
        "AWS_EC2_METADATA_DISABLED=true.",
    ),
    "expired-credentials": _Text(
        message="AWS says that the credentials of source {source} have expired; {secret} was not read",
        advice="Role credentials are asked for anew at the next refresh; if it stays, check the instance's "
        "role and clock. Credentials with a session token in the environment have to be replaced by "
        "hand.",
    ),
    "unknown-credentials": _Text(
        message="AWS does not know the credentials of source {source}, or their signature is wrong; {secret} "
        "was not read",
        advice="Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of secretsd.service (a "
        "deleted key, a missing session token, a typing error), or the role of the instance.",
    ),
    "no-credentials": _Text(
        message="no AWS credentials were found for source {source}; {secret} was not read",
        advice="Attach a role to the instance (the metadata service must answer "
        "/latest/meta-data/iam/security-credentials/), or set AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY for secretsd.service.",
    ),
    "no-region": _Text(
        message="source {source} has no usable AWS region; {secret} was not read",
        advice="Set region in [sources.{source}], or AWS_REGION for secretsd.service, e.g. us-east-1.",
    ),
    "bad-endpoint": _Text(
        message="source {source} has an endpoint that cannot be used; {secret} was not read",
        advice="Give endpoint_url in [sources.{source}] (or AWS_ENDPOINT_URL, "
        "AWS_ENDPOINT_URL_SECRETS_MANAGER) as https://HOST[:PORT], and check the region.",
    ),
    "access-denied": _Text(
        message="AWS denies reading {secret}",
        advice="Allow secretsmanager:GetSecretValue on it in the policy of the role of source {source}; for "
        "a secret of another account also in the secret's resource policy.",
    ),
    "decryption-failed": _Text(
        message="AWS could not decrypt {secret}",
        advice="Allow kms:Decrypt on the secret's KMS key to the role of source {source}, and check that the "
        "key is enabled and not pending deletion.",
    ),
    "secret-missing": _Text(
        message="there is no secret {secret} in this account and region",
        advice="Check the id and the region of source {source}, or create it (aws secretsmanager "
        "create-secret) and give it a value.",
    ),
    "secret-deleted": _Text(
        message="{secret} is scheduled for deletion",
        advice="Restore it (aws secretsmanager restore-secret --secret-id {id}), or take it out of the "
        "configuration.",
    ),
    "secret-empty": _Text(
        message="{secret} exists but has no value there",
        advice="Give it one (aws secretsmanager put-secret-value --secret-id {id}), or check the stages of "
        "its versions (aws secretsmanager list-secret-version-ids --secret-id {id}).",
    ),
    "bad-secret-id": _Text(
        message="AWS does not accept {secret} as a secret's id, stage or version",
        advice="Correct it in the configuration: a name or a full ARN; a version is its UUID of 32 "
        "characters or more.",
    ),
    "unexpected-error": _Text(
        message="AWS answered {secret} with an error that secretsd does not know",
        advice="Look the error up in the API reference of GetSecretValue; the last good bundle stays.",
    ),
    "not-utf8": _Text(
        message="the text of {secret} cannot be written as UTF-8",
        advice="Store it again: it holds half of a surrogate pair. Bytes that are no text belong in "
        "SecretBinary.",
    ),
    "too-large": _Text(
        message="the value of {secret} is larger than 65536 bytes",
        advice="Store a value within the limit of Secrets Manager; check what answers at the source's "
        "endpoint_url.",
    ),
}

_ALL_DENIED = _Text(
    message="AWS denies everything that source {source} asks for, {secret} too",
    advice="Check that the instance has the role that it should (aws sts get-caller-identity), and that the "
    "role's policy allows secretsmanager:GetSecretValue and secretsmanager:BatchGetSecretValue on "
    "these secrets.",
)


def failure(fault: Fault, ref: SecretRef) -> Failure:
    """`fault` as it concerns `ref`, in words for the operator; holds configured names and codes only."""
    return _spoken(_TEXTS[fault.code], fault, fault.failure_class, ref)


def all_denied(fault: Fault, ref: SecretRef) -> Failure:
    """The failure of `ref` when nothing at all was granted: our identity is wrong, not the secret."""
    return _spoken(_ALL_DENIED, fault, FailureClass.IDENTITY, ref)


def _spoken(text: _Text, fault: Fault, failure_class: FailureClass, ref: SecretRef) -> Failure:
    names = {"secret": str(ref), "id": ref.id, "source": ref.source}
    message = text.message.format(**names)
    if fault.code == "clock-skew" and fault.detail:
        message = f"{message}: it is {fault.detail} AWS's"
    elif fault.detail:
        message = f"{message} ({fault.detail})"
    return Failure(
        code=fault.code,
        failure_class=failure_class,
        message=message,
        advice=text.advice.format(**names),
        secret=ref.id,
    )
