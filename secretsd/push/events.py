"""What a message of the queue means. Pure, and never raises: anybody may have written it.

Two kinds of events tell of a new version: Secrets Manager's own "Secret Label Updated", and what CloudTrail
records of the calls that move a label. Each comes as EventBridge wrote it, or inside the envelope of SNS
where raw delivery is off. Field names: "Secret Label Updated event" and "Match AWS Secrets Manager events"
in the user guide of Secrets Manager, "CloudTrail record contents" in that of CloudTrail.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from secretsd.push.messages import ARN, LABEL, NAME, VERSION, Hint

# SQS holds up to 1 MiB, EventBridge sends up to 256 KiB.
MAX_BODY_CHARACTERS = 256 * 1024

Other = Literal["ignored", "malformed"]
_Event = Mapping[str, object]

_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z"
_CLOUDTRAIL = frozenset({"AWS API Call via CloudTrail", "AWS Service Event via CloudTrail"})


def read(body: object) -> Hint | Other:
    """The hint in a message's body.

    "ignored": an event that moves no version; "malformed": no event at all, or one without what it needs.
    """
    event = _parsed(body)
    if event is None:
        return "malformed"
    if "Type" in event and "detail-type" not in event:
        return _out_of_envelope(event)
    return _of_event(event)


def _parsed(body: object) -> _Event | None:
    if not isinstance(body, str) or len(body) > MAX_BODY_CHARACTERS:
        return None
    try:
        # No number is of interest, and one of 250,000 digits would be converted for nothing.
        event = json.loads(body, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, Mapping) else None


def _out_of_envelope(envelope: _Event) -> Hint | Other:
    """What SNS wraps, one envelope deep."""
    if envelope.get("Type") != "Notification":
        return "ignored"  # SubscriptionConfirmation, UnsubscribeConfirmation
    event = _parsed(envelope.get("Message"))
    return "malformed" if event is None else _of_event(event)


def _of_event(event: _Event) -> Hint | Other:
    kind, detail = event.get("detail-type"), event.get("detail")
    if not isinstance(kind, str) or not isinstance(detail, Mapping):
        return "malformed"
    if event.get("source") != "aws.secretsmanager":
        return "ignored"
    if kind == "Secret Label Updated":
        return _checked(
            arn=_first(event.get("resources")),
            name=detail.get("name"),
            label=detail.get("labelUpdated"),
            version_id=detail.get("versionId"),
            time=event.get("time"),
        )
    return _of_cloudtrail(detail, event.get("time")) if kind in _CLOUDTRAIL else "ignored"


def _of_cloudtrail(detail: _Event, time: object) -> Hint | Other:
    """CloudTrail writes "aRN" for some operations, and a request's id may be a name or an ARN of any form."""
    if detail.get("errorCode") is not None or detail.get("eventSource") != "secretsmanager.amazonaws.com":
        return "ignored"
    asked, answered = _part(detail, "requestParameters"), _part(detail, "responseElements")
    told = _part(detail, "additionalEventData")
    arn = answered.get("arn") or answered.get("aRN") or answered.get("ARN")
    name = answered.get("name")
    for given in (asked.get("secretId"), told.get("SecretId")):
        if isinstance(given, str) and given.startswith("arn:"):
            arn = arn or given
        else:
            name = name or given
    match detail.get("eventName"):
        case "PutSecretValue":
            # The request's token becomes the version's id.
            version_id = answered.get("versionId") or asked.get("clientRequestToken")
            label = _label_of(asked.get("versionStages"))
        case "UpdateSecret":
            # Without a new value it changes the description only: the answer then names no version.
            version_id, label = answered.get("versionId"), "AWSCURRENT"
        case "UpdateSecretVersionStage":
            version_id, label = asked.get("moveToVersionId"), asked.get("versionStage")
        case "RotationSucceeded" | "RestoreSecret" | "DeleteSecret":
            version_id, label = None, None
        case _:
            return "ignored"
    return _checked(arn=arn, name=name, label=label, version_id=version_id, time=time)


def _checked(*, arn: object, name: object, label: object, version_id: object, time: object) -> Hint | Other:
    hint = Hint(
        arn=_matching(ARN, arn),
        name=_matching(NAME, name),
        label=_matching(LABEL, label),
        version_id=_matching(VERSION, version_id),
        at=_moment(time),
    )
    return hint if hint.arn or hint.name else "malformed"


def _matching(pattern: str, value: object) -> str | None:
    """re.fullmatch: the "$" of a pattern would let a line break through."""
    return value if isinstance(value, str) and re.fullmatch(pattern, value) else None


def _moment(time: object) -> float | None:
    """Seconds since the epoch, of a time as EventBridge writes it."""
    if not isinstance(time, str) or not re.fullmatch(_TIME, time):
        return None
    try:
        return max(0.0, datetime.fromisoformat(time).timestamp())
    except ValueError:  # the 31st of February
        return None


def _label_of(stages: object) -> object:
    """The label that a new version was given: without a word about it, AWSCURRENT."""
    if not isinstance(stages, list) or not stages or "AWSCURRENT" in stages:
        return "AWSCURRENT"
    return stages[0]


def _first(values: object) -> object:
    return values[0] if isinstance(values, list) and values else None


def _part(detail: _Event, key: str) -> _Event:
    found = detail.get(key)
    return found if isinstance(found, Mapping) else {}
