"""Events as they arrive in a queue."""

from __future__ import annotations

import json
from typing import Any

ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/bot-AbC12x"
NAME = "prod/bot"
VERSION = "22222222-aaaa-4bbb-8ccc-000000000002"


def native(**detail: object) -> dict[str, Any]:
    """Secrets Manager's own event."""
    return {
        "version": "0",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "detail-type": "Secret Label Updated",
        "source": "aws.secretsmanager",
        "account": "123456789012",
        "time": "2026-02-06T16:43:48Z",
        "region": "us-east-1",
        "resources": [ARN],
        "detail": {"name": NAME, "labelUpdated": "AWSCURRENT", "versionId": VERSION, **detail},
    }


def cloudtrail(name: str, *, kind: str = "AWS API Call via CloudTrail", **detail: object) -> dict[str, Any]:
    """What CloudTrail records of the operation `name`."""
    return {
        "version": "0",
        "detail-type": kind,
        "source": "aws.secretsmanager",
        "resources": [],
        "detail": {"eventSource": "secretsmanager.amazonaws.com", "eventName": name, **detail},
    }


def from_sns(event: object) -> dict[str, Any]:
    """The envelope of SNS, where raw delivery is off."""
    topic = "arn:aws:sns:us-east-1:123456789012:secretsd"
    return {"Type": "Notification", "MessageId": "m", "TopicArn": topic, "Message": json.dumps(event)}
