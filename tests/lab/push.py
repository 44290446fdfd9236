"""The push in the fake AWS: the stack of `aws-setup --push`, and the events that moto does not send."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection
from typing import Any

import boto3
from botocore.config import Config

from secretsd.push import templates
from tests.lab.aws import FAKE_CREDENTIALS, REGION, FakeAws

QUEUE = "secretsd"


def client(aws: FakeAws, service: str) -> Any:
    """A client of the fake AWS that never retries."""
    session = boto3.session.Session(
        aws_access_key_id=FAKE_CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=FAKE_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
    )
    config = Config(connect_timeout=2, read_timeout=30, retries={"max_attempts": 0}, proxies={})
    return session.client(service, endpoint_url=aws.url, config=config)


class FakePush:
    """One host's queue, fed by a rule for `ids`; without any, for every secret."""

    def __init__(self, aws: FakeAws, ids: Collection[str] = ()) -> None:
        self.aws = aws
        self.sqs, self._events = client(aws, "sqs"), client(aws, "events")
        formation = client(aws, "cloudformation")
        body = json.dumps(templates.direct(ids, source="aws", queue=QUEUE))
        with warnings.catch_warnings(action="ignore"):  # moto knows no policies of queues, and says so
            formation.create_stack(StackName="push", TemplateBody=body, Capabilities=["CAPABILITY_IAM"])
        (stack,) = formation.describe_stacks(StackName="push")["Stacks"]
        outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
        self.configuration = outputs["Configuration"]
        self.queue_url = self.configuration.partition('queue_url = "')[2].rstrip('"')

    def put(self, name: str, value: dict[str, object]) -> str:
        """Rotates the secret, as AWS does it: with an event. Returns the version's id."""
        version = self.aws.put(name, value)
        self.tell(name, version)
        return version

    def tell(self, name: str, version: str, *, label: str = "AWSCURRENT") -> None:
        """The event alone."""
        arn = self.aws.secretsmanager.describe_secret(SecretId=name)["ARN"]
        detail = json.dumps({"name": name, "labelUpdated": label, "versionId": version})
        entry = {
            "Source": "aws.secretsmanager",
            "DetailType": "Secret Label Updated",
            "Resources": [arn],
            "Detail": detail,
        }
        assert self._events.put_events(Entries=[entry])["FailedEntryCount"] == 0

    def send(self, *bodies: str) -> None:
        """Anything that anybody may put into the queue."""
        for start in range(0, len(bodies), 10):
            entries = [
                {"Id": str(number), "MessageBody": body}
                for number, body in enumerate(bodies[start : start + 10])
            ]
            self.sqs.send_message_batch(QueueUrl=self.queue_url, Entries=entries)

    def waiting(self) -> int:
        """How many messages nobody has deleted yet."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)
        return sum(int(found["Attributes"][name]) for name in names)

    def delete_queue(self) -> None:
        self.sqs.delete_queue(QueueUrl=self.queue_url)

    def make_queue(self) -> None:
        """The queue again, after it was deleted; the rule still feeds it."""
        self.sqs.create_queue(QueueName=QUEUE)
