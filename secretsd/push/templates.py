"""CloudFormation templates of what brings Secrets Manager's events to a host's queue. Pure.

One queue for each host: a message is read once. For one host the rule feeds its queue; for a fleet it feeds
a topic that each host's queue subscribes to, since a rule has room for five targets.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from secretsd.config import toml_text

Template = dict[str, Any]

# EventBridge takes patterns of up to 2048 characters.
MAX_PATTERN_CHARACTERS = 2048

# A hint that is an hour old has been overtaken by polling.
_RETENTION_S = 3600
_FORMAT = "2010-09-09"


def direct(ids: Collection[str], *, source: str, queue: str) -> Template:
    """Rule -> queue, for one host. `ids` as configured; without any, every secret of account and region."""
    return {
        "AWSTemplateFormatVersion": _FORMAT,
        "Description": "secretsd: tells one host of new versions of its secrets",
        "Parameters": {"HostRole": _HOST_ROLE},
        "Conditions": _CONDITIONS,
        "Resources": {
            "Rule": _rule(ids, {"Arn": _arn_of("Queue"), "Id": "secretsd"}),
            **_queue(queue, sender="events.amazonaws.com", sender_arn=_arn_of("Rule")),
            "HostAccess": _host_access(),
        },
        "Outputs": _outputs_of_queue(source),
    }


def fleet_topic(ids: Collection[str]) -> Template:
    """Rule -> topic, once for a fleet."""
    return {
        "AWSTemplateFormatVersion": _FORMAT,
        # Not encrypted with a key: EventBridge could not use AWS's own one, and what passes holds no value.
        "Description": "secretsd: the topic that tells a fleet of new versions of its secrets",
        "Resources": {
            "Rule": _rule(ids, {"Arn": {"Ref": "Topic"}, "Id": "secretsd"}),
            "Topic": {"Type": "AWS::SNS::Topic"},
            "TopicPolicy": {
                "Type": "AWS::SNS::TopicPolicy",
                "Properties": {
                    "Topics": [{"Ref": "Topic"}],
                    "PolicyDocument": _only_for(
                        "events.amazonaws.com",
                        "sns:Publish",
                        to={"Ref": "Topic"},
                        sender_arn=_arn_of("Rule"),
                    ),
                },
            },
        },
        "Outputs": {
            "TopicArn": {"Description": "For the stack of each host", "Value": {"Ref": "Topic"}},
        },
    }


def fleet_host(*, source: str, queue: str) -> Template:
    """Topic -> queue, once for each host of a fleet."""
    subscription = {
        "Protocol": "sqs",
        "TopicArn": {"Ref": "TopicArn"},
        "Endpoint": _arn_of("Queue"),
        "RawMessageDelivery": True,
    }
    topic = {
        "Type": "String",
        "Description": "TopicArn of the fleet's stack",
        "AllowedPattern": "arn:.*:sns:.*",
    }
    return {
        "AWSTemplateFormatVersion": _FORMAT,
        "Description": "secretsd: the queue of one host of a fleet",
        "Parameters": {"TopicArn": topic, "HostRole": _HOST_ROLE},
        "Conditions": _CONDITIONS,
        "Resources": {
            **_queue(queue, sender="sns.amazonaws.com", sender_arn={"Ref": "TopicArn"}),
            "Subscription": {
                "Type": "AWS::SNS::Subscription",
                "DependsOn": "QueuePolicy",
                "Properties": subscription,
            },
            "HostAccess": _host_access(),
        },
        "Outputs": _outputs_of_queue(source),
    }


def event_pattern(ids: Collection[str]) -> Template:
    """Which events the rule passes on: those of `ids`, or, without any, all of the account and region."""
    pattern: Template = {"source": ["aws.secretsmanager"], "detail-type": ["Secret Label Updated"]}
    names = sorted({each for each in ids if not each.startswith("arn:")})
    # An ARN without its suffix is configured as well as one with it.
    arns = [{"prefix": each} for each in sorted({each for each in ids if each.startswith("arn:")})]
    if names and arns:
        return {**pattern, "$or": [{"detail": {"name": names}}, {"resources": arns}]}
    if names:
        return {**pattern, "detail": {"name": names}}
    return {**pattern, "resources": arns} if arns else pattern


def is_too_long(ids: Collection[str]) -> bool:
    """Whether a rule has no room to name them all."""
    return len(json.dumps(event_pattern(ids), separators=(",", ":"))) > MAX_PATTERN_CHARACTERS


def _rule(ids: Collection[str], target: Template) -> Template:
    properties = {"EventPattern": event_pattern(ids), "State": "ENABLED", "Targets": [target]}
    return {"Type": "AWS::Events::Rule", "Properties": properties}


def _queue(name: str, *, sender: str, sender_arn: Template) -> Template:
    """The queue, and that nobody but `sender_arn` sends to it."""
    return {
        "Queue": {
            "Type": "AWS::SQS::Queue",
            "Properties": {
                "QueueName": name,
                "MessageRetentionPeriod": _RETENTION_S,
                "ReceiveMessageWaitTimeSeconds": 20,
                "SqsManagedSseEnabled": True,
            },
        },
        "QueuePolicy": {
            "Type": "AWS::SQS::QueuePolicy",
            "Properties": {
                "Queues": [{"Ref": "Queue"}],
                "PolicyDocument": _only_for(
                    sender, "sqs:SendMessage", to=_arn_of("Queue"), sender_arn=sender_arn
                ),
            },
        },
    }


def _only_for(service: str, action: str, *, to: Template, sender_arn: Template) -> Template:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": action,
        "Resource": to,
        "Condition": {"ArnEquals": {"aws:SourceArn": sender_arn}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def _host_access() -> Template:
    """What the host's role needs beside reading its secrets."""
    statement = {
        "Sid": "SecretsdPush",
        "Effect": "Allow",
        "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage"],
        "Resource": _arn_of("Queue"),
    }
    return {
        "Type": "AWS::IAM::ManagedPolicy",
        "Properties": {
            "Description": "secretsd: read the queue of this host",
            "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]},
            "Roles": {"Fn::If": ["HasHostRole", [{"Ref": "HostRole"}], {"Ref": "AWS::NoValue"}]},
        },
    }


def _outputs_of_queue(source: str) -> Template:
    lines = f'[sources.{toml_text.key(source)}.push]\nqueue_url = "${{Queue}}"'
    return {
        "Configuration": {"Description": "For secretsd.toml", "Value": {"Fn::Sub": lines}},
        "HostPolicy": {
            "Description": "To be attached to the host's role, where HostRole was left empty",
            "Value": {"Ref": "HostAccess"},
        },
    }


def _arn_of(resource: str) -> Template:
    return {"Fn::GetAtt": [resource, "Arn"]}


_HOST_ROLE = {
    "Type": "String",
    "Default": "",
    "Description": "Name of the role of the host, which is given access to the queue; empty: do it yourself",
}
_CONDITIONS = {"HasHostRole": {"Fn::Not": [{"Fn::Equals": [{"Ref": "HostRole"}, ""]}]}}
