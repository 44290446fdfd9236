"""What the operator reads about a queue that cannot be read: one sentence for what, one for the fix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from secretsd.errors import Failure, FailureClass
from secretsd.refresh.sources.aws.errors import EXPIRED, UNDECRYPTABLE, fault_of_exception
from secretsd.refresh.sources.faults import BAD_ENDPOINT, DENIED, THROTTLED, Fault, Scope

QUEUE_MISSING = Fault("queue-missing", FailureClass.REFUSAL, Scope.SOURCE)

# Beside those that Secrets Manager has, too; SQS answers with the codes of its older protocol.
_BY_CODE_OF_SQS: Mapping[str, Fault] = {
    **dict.fromkeys(("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"), QUEUE_MISSING),
    **dict.fromkeys(("AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently"), QUEUE_MISSING),
    **dict.fromkeys(("OverLimit", "KmsThrottled", "KMS.ThrottlingException"), THROTTLED),
    **dict.fromkeys(("InvalidAddress", "InvalidSecurity"), BAD_ENDPOINT),
    "AccessDenied": DENIED,
}
_OF_A_KEY = ("KMS.", "Kms")

_RETRIED = "Nothing to do if it passes: bundles are refreshed by their own interval meanwhile."
_PATH = (
    "check DNS, route, security group, the VPC endpoint of SQS and endpoint_url in [sources.{source}.push]"
)


@dataclass(frozen=True, slots=True)
class _Text:
    """Two sentences in which {source}, {queue} and {action} stand for what is configured and was tried."""

    message: str
    advice: str


_TEXTS: Mapping[str, _Text] = {
    "throttled": _Text(
        "AWS throttles the calls to the queue of source {source}",
        _RETRIED + " If it stays: see whether another host reads from the same queue.",
    ),
    "server-error": _Text(
        "SQS answered with an error of its own for the queue of source {source}",
        _RETRIED + " If it stays: see the AWS Health Dashboard for this region.",
    ),
    "incomplete-answer": _Text(
        "the answer of SQS for the queue of source {source} was not whole",
        _RETRIED + " If it stays: look for a proxy or a wrong endpoint_url between this host and SQS.",
    ),
    "unreachable": _Text(
        "SQS could not be reached for the queue of source {source}", _RETRIED + f" If it stays: {_PATH}."
    ),
    "tls-failed": _Text(
        "the TLS connection to SQS failed for the queue of source {source}",
        "Check the clock, the ca-certificates package, AWS_CA_BUNDLE and endpoint_url in "
        "[sources.{source}.push]; a proxy that opens TLS needs its CA in AWS_CA_BUNDLE.",
    ),
    "clock-skew": _Text(
        "AWS refuses the calls to the queue of source {source} because this machine's clock is wrong",
        "Set the clock (timedatectl status; systemctl restart systemd-timesyncd or chrony): AWS allows 5 "
        "minutes.",
    ),
    "metadata-unreachable": _Text(
        "the instance metadata service gave no credentials (IMDSv2) for the queue of source {source}",
        "Check that the metadata service is enabled with IMDSv2 and a hop limit that reaches this process.",
    ),
    "expired-credentials": _Text(
        "AWS says that the credentials for the queue of source {source} have expired",
        "Role credentials are asked for anew at the next try; those with a session token in the environment "
        "have to be replaced by hand, and secretsd be restarted.",
    ),
    "unknown-credentials": _Text(
        "AWS does not know the credentials for the queue of source {source}, or their signature is wrong",
        "Check the role of the instance, or AWS_ACCESS_KEY_ID and what belongs to it of secretsd.service.",
    ),
    "no-credentials": _Text(
        "no AWS credentials were found for the queue of source {source}",
        "Attach a role to the instance, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for "
        "secretsd.service.",
    ),
    "no-region": _Text(
        "it is not known in which region the queue of source {source} is",
        "Set region in [sources.{source}], or AWS_REGION for secretsd.service.",
    ),
    "bad-endpoint": _Text(
        "the queue of source {source} has an address that cannot be used",
        "Check queue_url and endpoint_url in [sources.{source}.push], and AWS_ENDPOINT_URL_SQS.",
    ),
    "access-denied": _Text(
        "AWS denies {action} on {queue}",
        "Allow sqs:ReceiveMessage and sqs:DeleteMessage on the queue to the host's role: secretsctl "
        "aws-setup --push prints the statement.",
    ),
    "decryption-failed": _Text(
        "AWS could not use the KMS key of the queue of source {source}",
        "Allow kms:Decrypt on the queue's key to the host's role, or encrypt the queue with SSE-SQS as "
        "secretsctl aws-setup --push does.",
    ),
    "queue-missing": _Text(
        "there is no queue {queue}",
        "Create it (secretsctl aws-setup --push prints the template), correct queue_url in "
        "[sources.{source}.push], or take the table out. A queue that was just made takes a minute.",
    ),
}
_UNKNOWN = _Text(
    "SQS answered {action} for the queue of source {source} with an error that secretsd does not know",
    _RETRIED + " If it stays: look the error up in the API reference of SQS.",
)


def fault_of(error: Exception, now: float) -> Fault:
    """The fault behind anything that a call of SQS raised; `now` in seconds since the epoch."""
    if type(error) is RuntimeError:
        return EXPIRED  # botocore, whose metadata service has given it nothing that is still good
    response = getattr(error, "response", None)
    told = response.get("Error") if isinstance(response, Mapping) else None
    code = told.get("Code") if isinstance(told, Mapping) else None
    general = fault_of_exception(error, now)
    if not isinstance(code, str) or general.code == "server-error":
        return general
    if code in _BY_CODE_OF_SQS:
        return replace(_BY_CODE_OF_SQS[code], detail=general.detail)
    return replace(UNDECRYPTABLE, detail=general.detail) if code.startswith(_OF_A_KEY) else general


def failure(fault: Fault, *, source: str, queue: str, action: str) -> Failure:
    """`fault` in words for the operator; holds configured names and error codes only."""
    text = _TEXTS.get(fault.code, _UNKNOWN)
    names = {"source": source, "queue": queue, "action": action}
    message = text.message.format(**names)
    if fault.code == "clock-skew" and fault.detail:
        message = f"{message}: it is {fault.detail} AWS's"
    elif fault.detail:
        message = f"{message} ({fault.detail})"
    # A queue that says no revokes no secret: nothing that is published is withdrawn for it.
    kind = FailureClass.IDENTITY if fault.failure_class is FailureClass.REFUSAL else fault.failure_class
    return Failure(fault.code, kind, message, text.advice.format(**names))
