"""Which secret of Secrets Manager an id names: by name, by ARN, or by ARN without its suffix. Pure."""

from __future__ import annotations

import re

# "Secrets Manager includes the secret name in the ARN, followed by six random characters."
_RANDOM_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}")


def names_secret(secret_id: str, *, arn: str | None, name: str | None) -> bool:
    """Whether `secret_id`, as configured, is about the secret that has this ARN, or this name.

    Each may be missing, and the ARN may lack its suffix: an ARN ends with the name and the suffix.
    """
    if arn is not None and _are_one(secret_id, arn):
        return True
    if not secret_id.startswith("arn:"):
        return secret_id == name if name is not None else arn is not None and _ends_with(arn, secret_id)
    # An ARN, and nothing but a name to hold it against.
    return arn is None and name is not None and _ends_with(secret_id, name)


def is_arn_without_suffix(short: str, arn: str) -> bool:
    return short.startswith("arn:") and arn.startswith(short) and _is_suffix(arn[len(short) :])


def _are_one(secret_id: str, arn: str) -> bool:
    return secret_id == arn or is_arn_without_suffix(secret_id, arn) or is_arn_without_suffix(arn, secret_id)


def _ends_with(arn: str, name: str) -> bool:
    last = arn.rpartition(":")[2]
    return last == name or (last.startswith(name) and _is_suffix(last[len(name) :]))


def _is_suffix(text: str) -> bool:
    return _RANDOM_SUFFIX.fullmatch(text) is not None
