"""What the operator reads about faults of Secrets Manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secretsd.refresh.sources.aws.texts import RETRIED, Text, Texts

if TYPE_CHECKING:
    from collections.abc import Mapping

_OWN: Mapping[str, Text] = {
    "throttled": Text(
        message="AWS throttles the calls of source {source}; {secret} was not read",
        advice=RETRIED + " If it stays: raise refresh_interval or refresh_jitter, or find who else reads in "
        "this account (BatchGetSecretValue: 100 calls a second per account and region).",
    ),
    "bad-endpoint": Text(
        message="source {source} has an endpoint that cannot be used; {secret} was not read",
        advice="Give endpoint_url in [sources.{source}] (or AWS_ENDPOINT_URL, "
        "AWS_ENDPOINT_URL_SECRETS_MANAGER) as https://HOST[:PORT], and check the region.",
    ),
    "access-denied": Text(
        message="AWS denies reading {secret}",
        advice="Allow secretsmanager:GetSecretValue on it in the policy of the role of source {source}; for "
        "a secret of another account also in the secret's resource policy.",
    ),
    "decryption-failed": Text(
        message="AWS could not decrypt {secret}",
        advice="Allow kms:Decrypt on the secret's KMS key to the role of source {source}, and check that the "
        "key is enabled and not pending deletion.",
    ),
    "secret-missing": Text(
        message="there is no secret {secret} in this account and region",
        advice="Check the id and the region of source {source}, or create it (aws secretsmanager "
        "create-secret) and give it a value.",
    ),
    "secret-deleted": Text(
        message="{secret} is scheduled for deletion",
        advice="Restore it (aws secretsmanager restore-secret --secret-id {id}), or take it out of the "
        "configuration.",
    ),
    "secret-empty": Text(
        message="{secret} exists but has no value there",
        advice="Give it one (aws secretsmanager put-secret-value --secret-id {id}), or check the stages of "
        "its versions (aws secretsmanager list-secret-version-ids --secret-id {id}).",
    ),
    "bad-secret-id": Text(
        message="AWS does not accept {secret} as a secret's id, stage or version",
        advice="Correct it in the configuration: a name or a full ARN; a version is its UUID of 32 "
        "characters or more.",
    ),
    "unexpected-error": Text(
        message="AWS answered {secret} with an error that secretsd does not know",
        advice="Look the error up in the API reference of GetSecretValue; what is published stays.",
    ),
    "not-utf8": Text(
        message="the text of {secret} cannot be written as UTF-8",
        advice="Store it again: it holds half of a surrogate pair. Bytes that are no text belong in "
        "SecretBinary.",
    ),
    "too-large": Text(
        message="the value of {secret} is larger than 65536 bytes",
        advice="Store a value within the limit of Secrets Manager; check what answers at the source's "
        "endpoint_url.",
    ),
}

_ALL_DENIED = Text(
    message="AWS denies everything that source {source} asks for, {secret} too",
    advice="Check that the instance has the role that it should (aws sts get-caller-identity), and that the "
    "role's policy allows secretsmanager:GetSecretValue and secretsmanager:BatchGetSecretValue on "
    "these secrets.",
)

TEXTS = Texts("Secrets Manager", _OWN, _ALL_DENIED)
