"""A secret of the fake AWS in several regions: a replica's versions have the ids of the primary's."""

from __future__ import annotations

import json
import uuid
from typing import Any

from tests.lab.aws import FakeAws

REGION = "us-west-2"


def put(home: FakeAws, replica: FakeAws | None, name: str, value: dict[str, object]) -> None:
    """Gives a secret a new version, in the replica too if there is one; makes it where it is missing."""
    version = str(uuid.uuid4())
    clients: list[Any] = [home.client(), *([replica.client(region=REGION)] if replica else [])]
    for client in clients:
        content = {"SecretString": json.dumps(value), "ClientRequestToken": version}
        try:
            client.put_secret_value(SecretId=name, **content)
        except client.exceptions.ResourceNotFoundException:
            client.create_secret(Name=name, **content)
