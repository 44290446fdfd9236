"""What the operator reads about faults of the Parameter Store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secretsd.refresh.sources.aws.texts import RETRIED, Text, Texts

if TYPE_CHECKING:
    from collections.abc import Mapping

_OWN: Mapping[str, Text] = {
    "throttled": Text(
        message="AWS throttles the calls of source {source}; {secret} was not read",
        advice=RETRIED + " If it stays: raise refresh_interval or refresh_jitter, find who else reads "
        "parameters in this account and region (40 calls a second for all of them together), or turn on "
        "higher throughput (aws ssm update-service-setting), which AWS charges for.",
    ),
    "bad-endpoint": Text(
        message="source {source} has an endpoint that cannot be used; {secret} was not read",
        advice="Give endpoint_url in [sources.{source}] (or AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_SSM) as "
        "https://HOST[:PORT], and check the region.",
    ),
    "access-denied": Text(
        message="AWS denies reading the parameter {secret}",
        advice="Allow ssm:GetParameters on it in the policy of the role of source {source} (the resource of "
        "/a/b is arn:aws:ssm:REGION:ACCOUNT:parameter/a/b); ssm:GetParameter alone does not do. A parameter "
        "of another account must also be shared with this one.",
    ),
    "decryption-failed": Text(
        message="AWS could not decrypt the parameter {secret}",
        advice="Allow kms:Decrypt on the parameter's KMS key to the role of source {source}, and check that "
        "the key is enabled and not pending deletion (aws ssm describe-parameters shows its KeyId).",
    ),
    "secret-missing": Text(
        message="there is no parameter {secret} in this account and region",
        advice="Check the id (names begin with / where they have a path) and the region of source {source}, "
        "or create it (aws ssm put-parameter --type SecureString). One of another account is named by its "
        "full ARN.",
    ),
    "secret-empty": Text(
        message="the parameter {secret} has no value there",
        advice="See which versions and labels it has (aws ssm get-parameter-history --name {id}), then "
        "correct version or label, or put the label on a version (aws ssm label-parameter-version).",
    ),
    "bad-secret-id": Text(
        message="AWS does not accept {secret} as a parameter's name, label or version",
        advice="Correct it in the configuration: id is a name or a full ARN, version a number.",
    ),
    "unexpected-error": Text(
        message="AWS answered {secret} with an error that secretsd does not know",
        advice="Look the error up in the API reference of GetParameters; what is published stays.",
    ),
    "not-utf8": Text(
        message="the text of the parameter {secret} cannot be written as UTF-8",
        advice="Store it again: it holds half of a surrogate pair.",
    ),
    "too-large": Text(
        message="the value of the parameter {secret} is larger than 65536 bytes",
        advice="No parameter can be that large: check what answers at the source's endpoint_url.",
    ),
}

_ALL_DENIED = Text(
    message="AWS denies everything that source {source} asks for, the parameter {secret} too",
    advice="Check that the instance has the role that it should (aws sts get-caller-identity), and that the "
    "role's policy allows ssm:GetParameters on these parameters, and kms:Decrypt on their key.",
)

TEXTS = Texts("the Parameter Store", _OWN, _ALL_DENIED)
