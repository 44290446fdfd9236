"""What the operator reads about a fault of AWS: one sentence for what is wrong, one for the fix.

What concerns the way to a service and who we are is said here, alike for all of them; the rest by each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from secretsd.errors import Failure, FailureClass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secretsd.model import SecretRef
    from secretsd.refresh.sources.faults import Fault

RETRIED = "Nothing to do if it passes: what is published stays, and the next refresh tries again."


@dataclass(frozen=True, slots=True)
class Text:
    """Two sentences in which {secret}, {id} and {source} stand for configured names, {service} for AWS's."""

    message: str
    advice: str


_COMMON: Mapping[str, Text] = {
    "server-error": Text(
        message="{service} answered with an error of its own for {secret}",
        advice=RETRIED + " If it stays: see the AWS Health Dashboard for this region.",
    ),
    "incomplete-answer": Text(
        message="the answer of {service} for {secret} was not whole, so it was not used",
        advice=RETRIED + " If it stays: look for a proxy, a firewall or a wrong endpoint_url between this "
        "machine and {service}.",
    ),
    "unreachable": Text(
        message="{service} could not be reached for {secret}",
        advice=RETRIED + " If it stays: check DNS, route, security group, VPC endpoint and the source's "
        "endpoint_url.",
    ),
    "tls-failed": Text(
        message="the TLS connection to {service} failed, {secret} was not read",
        advice="Check the machine's clock, the ca-certificates package, AWS_CA_BUNDLE and the endpoint_url "
        "of source {source}; a proxy that opens TLS needs its CA in AWS_CA_BUNDLE.",
    ),
    "clock-skew": Text(
        message="AWS refuses the request for {secret} because this machine's clock is wrong",
        advice="Set the clock (timedatectl status; systemctl restart systemd-timesyncd or chrony): AWS "
        "allows 5 minutes.",
    ),
    "metadata-unreachable": Text(
        message="the instance metadata service gave no credentials (IMDSv2), {secret} was not read",
        advice="Check that the metadata service is enabled with IMDSv2 and a hop limit that reaches this "
        "process (aws ec2 describe-instances, MetadataOptions), and that no firewall closes "
        "169.254.169.254. Outside EC2: give credentials in the environment, and set "
        "AWS_EC2_METADATA_DISABLED=true.",
    ),
    "expired-credentials": Text(
        message="AWS says that the credentials of source {source} have expired; {secret} was not read",
        advice="Role credentials are asked for anew at the next refresh; if it stays, check the instance's "
        "role and clock. Credentials with a session token in the environment have to be replaced by "
        "hand.",
    ),
    "unknown-credentials": Text(
        message="AWS does not know the credentials of source {source}, or their signature is wrong; {secret} "
        "was not read",
        advice="Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of secretsd.service (a "
        "deleted key, a missing session token, a typing error), or the role of the instance.",
    ),
    "no-credentials": Text(
        message="no AWS credentials were found for source {source}; {secret} was not read",
        advice="Attach a role to the instance (the metadata service must answer "
        "/latest/meta-data/iam/security-credentials/), or set AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY for secretsd.service.",
    ),
    "no-region": Text(
        message="source {source} has no usable AWS region; {secret} was not read",
        advice="Set region in [sources.{source}], or AWS_REGION for secretsd.service, e.g. us-east-1.",
    ),
}


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of one service: the common ones, and those of its own by the code of the fault."""

    service: str  # as it is called in the middle of a sentence
    own: Mapping[str, Text]
    denied_everything: Text

    def failure(self, fault: Fault, ref: SecretRef) -> Failure:
        """`fault` as it concerns `ref`, in words for the operator; holds configured names and codes only."""
        text = self.own.get(fault.code) or _COMMON[fault.code]
        return self._spoken(text, fault, fault.failure_class, ref)

    def all_denied(self, fault: Fault, ref: SecretRef) -> Failure:
        """The failure of `ref` when nothing at all was granted: our identity is wrong, not the secret."""
        return self._spoken(self.denied_everything, fault, FailureClass.IDENTITY, ref)

    def _spoken(self, text: Text, fault: Fault, failure_class: FailureClass, ref: SecretRef) -> Failure:
        names = {"secret": str(ref), "id": ref.id, "source": ref.source, "service": self.service}
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
