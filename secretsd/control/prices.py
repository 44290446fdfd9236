"""What AWS charges for what secretsd uses. Pure.

Source: AWS's price pages of Secrets Manager, Systems Manager and SQS, for us-east-1. Other regions differ by
a few percent; taxes, data transfer, VPC endpoints and calls of KMS for a customer's own keys are not in it.
"""

from __future__ import annotations

from collections.abc import Mapping

AS_OF = "2026-11"
REGION = "us-east-1"
MONTH_DAYS = 30

SECRET_USD_A_MONTH = 0.40  # of Secrets Manager; a replica in another region is one more
SECRETS_MANAGER_CALL_USD = 0.05 / 10_000
# Standard parameters at standard throughput; advanced ones and higher throughput cost something.
PARAMETER_CALL_USD = 0.0
SQS_CALL_USD = 0.40 / 1_000_000
SQS_FREE_A_MONTH = 1_000_000  # of an account, in all its regions and queues

_SQS = frozenset({"ReceiveMessage", "DeleteMessage", "DeleteMessageBatch", "ChangeMessageVisibility"})
_CALL_USD: Mapping[str, float] = {
    "aws-secretsmanager": SECRETS_MANAGER_CALL_USD,
    "aws-ssm": PARAMETER_CALL_USD,
}


def calls_usd(source_type: str, calls: Mapping[str, float]) -> float:
    """What a month's calls of a source of that type cost, by operation; those to its queue are among them.

    The free calls of SQS count as this host's alone.
    """
    queue = sum(count for operation, count in calls.items() if operation in _SQS)
    others = sum(calls.values()) - queue
    paid = max(0.0, queue - SQS_FREE_A_MONTH)
    return others * _CALL_USD.get(source_type, 0.0) + paid * SQS_CALL_USD


def without_queue(calls: Mapping[str, float]) -> dict[str, float]:
    """The calls that read secrets."""
    return {operation: count for operation, count in calls.items() if operation not in _SQS}
