"""The templates as cfn-lint reads them, and the direct one as moto makes it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from secretsd.push import templates
from tests.lab.push import FakePush, client

IDS = ("prod/bot", "prod/other", "arn:aws:secretsmanager:us-east-1:111122223333:secret:shared")
ALL = {
    "direct": templates.direct(IDS, source="aws", queue="secretsd"),
    "direct of all": templates.direct((), source="aws", queue="secretsd"),
    "topic": templates.fleet_topic(IDS),
    "host": templates.fleet_host(source="aws", queue="secretsd-host-1"),
}


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--regions", "us-east-1", "--", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ALL)
def test_cfn_lint_finds_nothing_and_is_not_blind(name: str, tmp_path: Path) -> None:
    path = tmp_path / "template.json"
    path.write_text(json.dumps(ALL[name]))
    done = lint(path)
    assert (done.returncode, done.stdout) == (0, "")
    planted = json.loads(json.dumps(ALL[name]))
    next(iter(planted["Resources"].values()))["Properties"]["NoSuchProperty"] = 1
    path.write_text(json.dumps(planted))
    assert "NoSuchProperty" in lint(path).stdout


@pytest.mark.parametrize("name", ALL)
def test_nobody_but_the_rule_or_the_topic_may_send(name: str) -> None:
    policies = [
        resource["Properties"]["PolicyDocument"]["Statement"]
        for resource in ALL[name]["Resources"].values()
        if resource["Type"] in ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy")
    ]
    assert policies
    for (statement,) in policies:
        assert set(statement["Principal"]) == {"Service"}
        assert "aws:SourceArn" in statement["Condition"]["ArnEquals"]


def test_the_rule_passes_on_the_configured_secrets_alone(aws: object, push: FakePush) -> None:
    del aws
    assert push.configuration.startswith("[sources.aws.push]\nqueue_url = ")
    events = client(push.aws, "events")
    rule = events.list_rules()["Rules"][0]
    pattern = json.dumps(templates.event_pattern(IDS))
    events.put_rule(Name=rule["Name"], EventPattern=pattern)
    for name in ("prod/bot", "unknown"):
        push.aws.create(name, "fake-value")
        push.tell(name, "22222222-aaaa-4bbb-8ccc-000000000002")
    (message,) = push.sqs.receive_message(QueueUrl=push.queue_url, MaxNumberOfMessages=10)["Messages"]
    assert json.loads(message["Body"])["detail"]["name"] == "prod/bot"


def test_a_rule_that_has_no_room_for_all_names_is_known() -> None:
    assert not templates.is_too_long(IDS)
    assert templates.is_too_long([f"prod/bot-{number:03}" for number in range(200)])


def test_a_source_with_a_dot_in_its_name_is_one_key_of_the_configuration() -> None:
    outputs = templates.direct(IDS, source="aws.eu", queue="q")["Outputs"]
    written = outputs["Configuration"]["Value"]["Fn::Sub"]
    assert tomllib.loads(written) == {"sources": {"aws.eu": {"push": {"queue_url": "${Queue}"}}}}
