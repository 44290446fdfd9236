"""What the operator reads when a sink takes nothing: a sentence for what is wrong, one for the fix. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from secretsd.errors import Failure, FailureClass

_KEPT = "Nothing is lost meanwhile: records wait in the audit files and are sent when it answers again."

# {where} is the sink in words, {table} its table of the configuration.
_TEXTS: Mapping[str, tuple[str, str]] = {
    "server-error": ("{where} answers with an error of its own", _KEPT),
    "throttled": ("{where} has too much to do for now", _KEPT),
    "unreachable": (
        "{where} cannot be reached",
        _KEPT + " If it stays: check DNS, route, security group, VPC endpoint and endpoint_url of {table}.",
    ),
    "incomplete-answer": (
        "what answers for {where} does not speak its language",
        _KEPT + " Look for a proxy, a firewall or a wrong endpoint_url of {table}.",
    ),
    "tls-failed": (
        "the TLS connection to {where} failed",
        "Check the clock, the ca-certificates package, AWS_CA_BUNDLE and endpoint_url of {table}.",
    ),
    "clock-skew": (
        "AWS refuses requests because this machine's clock is wrong",
        "Set the clock (timedatectl status): AWS allows 5 minutes, S3 15.",
    ),
    "metadata-unreachable": (
        "the instance metadata service gave no credentials (IMDSv2)",
        "Check that it is enabled with a hop limit that reaches this process, and no firewall closes it.",
    ),
    "expired-credentials": (
        "AWS says that the shipper's credentials have expired",
        "Role credentials renew themselves: if it stays, check the role of the instance and the clock.",
    ),
    "unknown-credentials": (
        "AWS does not know the shipper's credentials, or their signature is wrong",
        "Check the role of the instance, or AWS_* in the environment of secretsd-shipper.service.",
    ),
    "no-credentials": (
        "the shipper has found no AWS credentials",
        "Attach a role to the instance, or set AWS_* in the environment of secretsd-shipper.service.",
    ),
    "no-region": (
        "no usable AWS region is known for {where}",
        "Set region in {table}, or AWS_REGION in /etc/default/secretsd-shipper.",
    ),
    "bad-endpoint": ("endpoint_url of {table} cannot be used", "Correct endpoint_url of {table}."),
    "access-denied": (
        "{where} does not let the shipper write",
        "Grant what `secretsctl aws-setup --audit` lists to the role of this host.",
    ),
    "decryption-failed": (
        "the KMS key of {where} cannot be used",
        "Check kms_key of {table}, that the key is enabled, and that the role has kms:GenerateDataKey on it.",
    ),
    "bucket-missing": (
        "there is no such bucket",
        "Correct bucket of {table}, or make the bucket: `secretsctl aws-setup --audit` prints its template.",
    ),
    "no-object-lock": (
        "the bucket has no Object Lock, so nothing would be kept from being removed",
        "Switch it on, which needs versioning: `secretsctl aws-setup --audit` prints a template.",
    ),
    "wrong-region": ("the bucket is in another region", "Set region of {table} to the bucket's."),
    "log-group-missing": (
        "there is no such log group",
        "Correct log_group of {table}, or make the group: `secretsctl aws-setup --audit` prints it.",
    ),
    "journal-full": (
        "journald takes no more entries",
        "It is stopped or cannot keep up: systemctl status systemd-journald. " + _KEPT,
    ),
    "journal-unreachable": (
        "journald cannot be reached at its socket",
        "systemctl status systemd-journald.socket, and check socket of {table}.",
    ),
    "unexpected-error": (
        "{where} refuses in a way that is not known here",
        _KEPT + " The code is AWS's own: look it up there.",
    ),
}

_LOG_IN = "Log in as for the aws command: AWS_PROFILE, AWS_ACCESS_KEY_ID ..., or the role of this machine."
# An auditor has credentials of his own and no configuration of the host.
_TO_READ: Mapping[str, tuple[str, str]] = {
    "access-denied": (
        "you may not read the bucket",
        "It needs s3:ListBucketVersions on the bucket, s3:GetObjectVersion on its objects, and kms:Decrypt.",
    ),
    "decryption-failed": ("the KMS key of the bucket cannot be used", "It needs kms:Decrypt on the key."),
    "no-credentials": ("no AWS credentials were found", _LOG_IN),
    "metadata-unreachable": ("no AWS credentials were found, and no metadata service answers", _LOG_IN),
    "expired-credentials": ("AWS says that your credentials have expired", _LOG_IN),
    "unknown-credentials": (
        "AWS does not know your credentials, or their signature is wrong",
        _LOG_IN + " `aws sts get-caller-identity` tries them.",
    ),
    "no-region": ("no AWS region is known", "Give --region, or set AWS_REGION."),
    "wrong-region": ("the bucket is in another region", "Give the bucket's own: --region, or AWS_REGION."),
    "bad-endpoint": ("the address of S3 cannot be used", "Correct --endpoint-url, or AWS_ENDPOINT_URL."),
    "bucket-missing": (
        "there is no such bucket",
        "Correct s3://BUCKET/PREFIX: both are in [audit.s3] of the host.",
    ),
    "unreachable": (
        "the bucket in S3 cannot be reached",
        "Check DNS, route, proxy and --endpoint-url, and try again.",
    ),
    "incomplete-answer": (
        "what answers for the bucket in S3 does not speak its language",
        "Try again. Look for a proxy, a firewall or a wrong --endpoint-url.",
    ),
    "tls-failed": (
        "the TLS connection to the bucket in S3 failed",
        "Check the clock, the ca-certificates package, AWS_CA_BUNDLE and --endpoint-url.",
    ),
}
KNOWN = frozenset(_TEXTS)
_WHERE = {"s3": "the bucket in S3", "cloudwatch": "CloudWatch Logs", "journal": "the journal"}


def failure_of(code: str, failure_class: FailureClass, sink: str, detail: str = "") -> Failure:
    """The failure of `sink` ("s3"), in words; `detail` is a number or a code of AWS."""
    message, advice = _TEXTS[code]
    words = {"where": _WHERE[sink], "table": f"[audit.{sink}]"}
    text = message.format(**words)
    return Failure(
        code=code,
        failure_class=failure_class,
        message=f"{text} ({detail})" if detail else text,
        advice=advice.format(**words),
    )


def cannot_read(failure: Failure) -> Failure:
    """The same failure, told to somebody who wants to read the bucket."""
    if failure.code in _TO_READ:
        message, advice = _TO_READ[failure.code]
        return replace(failure, message=message, advice=advice)
    return replace(failure, advice=failure.advice.replace(_KEPT, "Try again.").strip())
