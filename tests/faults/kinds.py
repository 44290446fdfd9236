"""The columns of the outage table: every kind of source that is asked over a network, behind a fault proxy.

A source has one bundle of two secrets, and the bundle has its name. All speak TLS, as the real ones do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.canary.spellings import MARK
from tests.lab import replica
from tests.lab.aws import FakeAws
from tests.lab.openbao import OpenBao
from tests.lab.proxy import FaultProxy

PARTS = ("one", "two")

_BUNDLE = """
[[bundles.{name}.outputs]]
path = "env"
format = "env"
"""
_SECRET = """
[[bundles.{name}.secrets]]
source = "{name}"
id = "{secret_id}"
variables = {{ {variable} = "value" }}
"""


class Kind(Protocol):
    """One source, its bundle, and the service behind it as its owner sees it."""

    name: str
    proxy: FaultProxy  # what a fault befalls

    def source(self, url: str) -> str:
        """Its table, with the service at `url`."""
        ...

    def secret_id(self, part: str) -> str: ...

    def rotate(self, number: int) -> None:
        """Gives both secrets a new version."""
        ...


def bundle(kind: Kind) -> str:
    """The tables of its bundle."""
    secrets = (
        _SECRET.format(name=kind.name, secret_id=kind.secret_id(part), variable=part.upper())
        for part in PARTS
    )
    return f"[bundles.{kind.name}]\n" + "".join(secrets) + _BUNDLE.format(name=kind.name)


def value(kind: Kind, number: int) -> str:
    """What both secrets hold after the rotation of that number."""
    return f"{MARK}{kind.name}-{number}"


@dataclass(slots=True)
class SecretsManager:
    """Secrets of one region, and with `replica` of another one that follows, or has stopped to."""

    name: str
    home: FakeAws
    proxy: FaultProxy
    replica: FakeAws | None = None
    replica_url: str = ""
    is_followed: bool = True  # by the replica; else it stays where it is after the first rotation

    def source(self, url: str) -> str:
        lines = ['type = "aws-secretsmanager"', 'region = "us-east-1"', f'endpoint_url = "{url}"']
        if self.replica is not None:
            lines += [
                'failover_regions = ["us-west-2"]',
                f'failover_endpoint_urls = {{ us-west-2 = "{self.replica_url}" }}',
            ]
        return "\n".join([f"[sources.{self.name}]", *lines, ""])

    def secret_id(self, part: str) -> str:
        return f"{self.name}/{part}"

    def rotate(self, number: int) -> None:
        followers = self.replica if self.is_followed or number == 0 else None
        for part in PARTS:
            replica.put(self.home, followers, self.secret_id(part), {"value": value(self, number)})


@dataclass(slots=True)
class ParameterStore:
    """SecureString parameters."""

    name: str
    aws: FakeAws
    proxy: FaultProxy

    def source(self, url: str) -> str:
        return f'[sources.{self.name}]\ntype = "aws-ssm"\nregion = "us-east-1"\nendpoint_url = "{url}"\n'

    def secret_id(self, part: str) -> str:
        return f"/{self.name}/{part}"

    def rotate(self, number: int) -> None:
        client = self.aws.client("ssm")
        for part in PARTS:
            text = json.dumps({"value": value(self, number)})
            client.put_parameter(Name=self.secret_id(part), Value=text, Type="SecureString", Overwrite=True)


@dataclass(slots=True)
class Vault:
    """The key-value engine, version 2, with a token in a file."""

    name: str
    server: OpenBao
    proxy: FaultProxy
    ca_file: Path | None  # for https:// alone
    token_file: Path

    def source(self, url: str) -> str:
        login = f'{{ method = "token", token = "file:{self.token_file}" }}'
        lines = ['type = "vault"', f'address = "{url}"', f"login = {login}"]
        if self.ca_file is not None:
            lines.append(f'ca_file = "{self.ca_file}"')
        return "\n".join([f"[sources.{self.name}]", *lines, ""])

    def secret_id(self, part: str) -> str:
        return f"{self.name}/{part}"

    def rotate(self, number: int) -> None:
        for part in PARTS:
            self.server.put(self.secret_id(part), {"value": value(self, number)})
