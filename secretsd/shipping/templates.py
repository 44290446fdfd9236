"""CloudFormation template of where the audit trail goes, and of who may do what there. Pure.

The bucket refuses by itself what a shipper never sends: an object without COMPLIANCE lock, with a shorter
one, under another key, or over a name that is taken. So even a host that was taken over can only add.
"""

from __future__ import annotations

from typing import Any

Template = dict[str, Any]

_FORMAT = "2010-09-09"
# CloudWatch Logs knows certain numbers of days; of these the first of seven years and more.
_LOG_RETENTION_DAYS = 2557


def audit(retention_days: int) -> Template:
    """Once for all hosts of an account and region. What is locked stays so for `retention_days`."""
    return {
        "AWSTemplateFormatVersion": _FORMAT,
        "Description": "secretsd: where the audit trail goes",
        "Parameters": _PARAMETERS,
        "Conditions": {
            "HasHostRole": _is_given("HostRole"),
            "HasBucketName": _is_given("BucketName"),
            "HasLogGroup": _is_given("LogGroupName"),
        },
        "Resources": {
            "Key": _key(),
            "Bucket": _bucket(retention_days),
            "BucketPolicy": {
                "Type": "AWS::S3::BucketPolicy",
                "Properties": {"Bucket": {"Ref": "Bucket"}, "PolicyDocument": _bucket_policy(retention_days)},
            },
            "LogGroup": {
                "Type": "AWS::Logs::LogGroup",
                "Condition": "HasLogGroup",
                "DeletionPolicy": "Retain",
                "UpdateReplacePolicy": "Retain",
                "Properties": {
                    "LogGroupName": {"Ref": "LogGroupName"},
                    "RetentionInDays": _LOG_RETENTION_DAYS,
                },
            },
            "HostAccess": _host_access(),
            "LogAccess": _log_access(),
            "ReaderAccess": _reader_access(),
        },
        "Outputs": _OUTPUTS,
    }


def _key() -> Template:
    """Its policy leaves the say to the account's IAM, as AWS's own default does."""
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}},
        "Action": "kms:*",
        "Resource": "*",
    }
    return {
        "Type": "AWS::KMS::Key",
        # Without the key nothing that it has encrypted is ever read again.
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {
            "Description": "secretsd: the audit trail",
            "EnableKeyRotation": True,
            "KeyPolicy": _policy(statement),
        },
    }


def _bucket(retention_days: int) -> Template:
    encryption = {
        "BucketKeyEnabled": True,
        "ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": _arn_of("Key")},
    }
    lock = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": retention_days}}
    return {
        "Type": "AWS::S3::Bucket",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {
            "BucketName": {"Fn::If": ["HasBucketName", {"Ref": "BucketName"}, {"Ref": "AWS::NoValue"}]},
            "ObjectLockEnabled": True,
            "ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled", "Rule": lock},
            "VersioningConfiguration": {"Status": "Enabled"},
            "BucketEncryption": {"ServerSideEncryptionConfiguration": [encryption]},
            "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
            "PublicAccessBlockConfiguration": {
                "BlockPublicAcls": True,
                "BlockPublicPolicy": True,
                "IgnorePublicAcls": True,
                "RestrictPublicBuckets": True,
            },
        },
    }


def _bucket_policy(retention_days: int) -> Template:
    """What nobody may do, whatever his own rights are."""
    put = "s3:PutObject"
    # Between the shipper's clock and the bucket's a part of a day may be lost.
    least = {"s3:object-lock-remaining-retention-days": str(retention_days - 1)}
    key = {"s3:x-amz-server-side-encryption-aws-kms-key-id": _arn_of("Key")}
    return _policy(
        _deny("OnlyTls", "s3:*", {"Bool": {"aws:SecureTransport": "false"}}),
        _deny("OnlyLocked", put, {"StringNotEquals": {"s3:object-lock-mode": "COMPLIANCE"}}),
        _deny("OnlyLongEnough", [put, "s3:PutObjectRetention"], {"NumericLessThan": least}),
        _deny("OnlyWithTheKey", put, {"StringNotEquals": key}),
        _deny("OnlyUnderNewNames", put, {"Null": {"s3:if-none-match": "true"}}),
        _deny("NothingIsRemoved", ["s3:DeleteObject", "s3:DeleteObjectVersion", _BYPASS], None),
    )


def _deny(sid: str, action: str | list[str], condition: Template | None) -> Template:
    statement: Template = {
        "Sid": sid,
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": [_arn_of("Bucket"), _OBJECTS],
    }
    if condition is not None:
        statement["Condition"] = condition
    if action != "s3:*":
        statement["Resource"] = _OBJECTS
    return statement


def _host_access() -> Template:
    """To add, and nothing else."""
    return _managed(
        "secretsd: ship the audit trail of a host",
        _allow(["s3:PutObject", "s3:PutObjectRetention"], _OBJECTS),
        _allow(["kms:GenerateDataKey"], _arn_of("Key")),
        roles=True,
    )


def _log_access() -> Template:
    streams = {"Fn::Sub": "${LogGroup.Arn}"}
    log_access = _managed(
        "secretsd: ship the audit trail of a host to CloudWatch Logs",
        _allow(["logs:CreateLogStream", "logs:PutLogEvents"], streams),
        roles=True,
    )
    return {**log_access, "Condition": "HasLogGroup"}


def _reader_access() -> Template:
    return _managed(
        "secretsd: verify and restore the audit trail (secretsctl audit-restore)",
        _allow(["s3:ListBucketVersions"], _arn_of("Bucket")),
        _allow(["s3:GetObjectVersion"], _OBJECTS),
        _allow(["kms:Decrypt"], _arn_of("Key")),
        roles=False,
    )


def _managed(description: str, *statements: Template, roles: bool) -> Template:
    properties: Template = {"Description": description, "PolicyDocument": _policy(*statements)}
    if roles:
        properties["Roles"] = {"Fn::If": ["HasHostRole", [{"Ref": "HostRole"}], {"Ref": "AWS::NoValue"}]}
    return {"Type": "AWS::IAM::ManagedPolicy", "Properties": properties}


def _allow(actions: list[str], resource: Template) -> Template:
    return {"Effect": "Allow", "Action": actions, "Resource": resource}


def _policy(*statements: Template) -> Template:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _arn_of(resource: str) -> Template:
    return {"Fn::GetAtt": [resource, "Arn"]}


def _is_given(parameter: str) -> Template:
    return {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]}


def _text(description: str) -> Template:
    return {"Type": "String", "Default": "", "Description": description}


_BYPASS = "s3:BypassGovernanceRetention"
_OBJECTS = {"Fn::Sub": "${Bucket.Arn}/*"}
_PARAMETERS = {
    "HostRole": _text("Name of the hosts' role, which is given the right to ship; empty: do it yourself"),
    "BucketName": _text("The bucket's name; empty: CloudFormation makes one up"),
    "LogGroupName": _text("A log group of CloudWatch Logs, for searching; empty: none"),
}
_LINES = '[audit.s3]\nbucket = "${Bucket}"\nregion = "${AWS::Region}"\nkms_key = "${Key.Arn}"'
_OUTPUTS = {
    "Configuration": {"Description": "For secretsd.toml", "Value": {"Fn::Sub": _LINES}},
    "HostPolicy": {
        "Description": "To be attached to the hosts' role, where HostRole was left empty",
        "Value": {"Ref": "HostAccess"},
    },
    "ReaderPolicy": {
        "Description": "For the role of those who verify the trail",
        "Value": {"Ref": "ReaderAccess"},
    },
}
