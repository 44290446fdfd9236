"""The template as cfn-lint reads it, as moto makes it, and what its bucket must not take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from secretsd.shipping import templates
from tests.cli.asking import ctl
from tests.lab.aws import FakeAws
from tests.shipping.conftest import client

_TEMPLATE = templates.audit(2555)


def _lint(path: Path) -> str:
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--regions", "us-east-1", "--", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_cfn_lint_finds_nothing_and_is_not_blind(tmp_path: Path) -> None:
    path = tmp_path / "template.json"
    path.write_text(json.dumps(_TEMPLATE))
    assert _lint(path) == ""
    planted = json.loads(json.dumps(_TEMPLATE))
    planted["Resources"]["Bucket"]["Properties"]["NoSuchProperty"] = 1
    path.write_text(json.dumps(planted))
    assert "NoSuchProperty" in _lint(path)


def test_the_stack_can_be_made(aws: FakeAws) -> None:
    cloudformation = client("cloudformation", aws.url)
    cloudformation.create_stack(
        StackName="trail",
        TemplateBody=json.dumps(_TEMPLATE),
        Parameters=[{"ParameterKey": "BucketName", "ParameterValue": "fake-trail"}],
        Capabilities=["CAPABILITY_IAM"],
    )
    (stack,) = cloudformation.describe_stacks(StackName="trail")["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
    assert 'bucket = "fake-trail"' in outputs["Configuration"]
    s3 = client("s3", aws.url)
    rules = s3.get_bucket_encryption(Bucket="fake-trail")["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"


def test_the_bucket_locks_what_comes_without_a_lock_too() -> None:
    """What moto does not make of a template."""
    bucket = _TEMPLATE["Resources"]["Bucket"]
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"
    assert bucket["Properties"]["ObjectLockEnabled"] is True
    rule = bucket["Properties"]["ObjectLockConfiguration"]["Rule"]
    assert rule == {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 2555}}
    assert bucket["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}


def _statements(resource: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _TEMPLATE["Resources"][resource]["Properties"]["PolicyDocument"][
        "Statement"
    ]
    return found


@pytest.mark.parametrize(
    ("sid", "condition"),
    [
        ("OnlyTls", {"Bool": {"aws:SecureTransport": "false"}}),
        # A key that is not in the request is not equal, either.
        ("OnlyLocked", {"StringNotEquals": {"s3:object-lock-mode": "COMPLIANCE"}}),
        ("OnlyLongEnough", {"NumericLessThan": {"s3:object-lock-remaining-retention-days": "2554"}}),
        ("OnlyUnderNewNames", {"Null": {"s3:if-none-match": "true"}}),
        ("NothingIsRemoved", None),
    ],
)
def test_the_bucket_refuses_what_no_shipper_sends(sid: str, condition: dict[str, Any] | None) -> None:
    (statement,) = [each for each in _statements("BucketPolicy") if each["Sid"] == sid]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement.get("Condition") == condition


def test_a_host_may_add_and_nothing_else() -> None:
    actions = {action for each in _statements("HostAccess") for action in each["Action"]}
    assert actions == {"s3:PutObject", "s3:PutObjectRetention", "kms:GenerateDataKey"}


def test_the_command_prints_it_and_refuses_what_belongs_to_the_other() -> None:
    code, out, err = ctl(None, "aws-setup", "--audit", "--retention-days", "30")
    assert (code, err) == (0, "")
    assert json.loads(out) == templates.audit(30)
    assert json.loads(ctl(None, "aws-setup", "--audit")[1]) == _TEMPLATE
    assert ctl(None, "aws-setup", "--audit", "--fleet")[0] == 64
    assert ctl(None, "aws-setup", "--push", "--retention-days", "30")[0] == 64
    assert ctl(None, "aws-setup", "--audit", "--push")[0] == 64
    assert ctl(None, "aws-setup", "--audit", "--retention-days", "0")[0] == 64
