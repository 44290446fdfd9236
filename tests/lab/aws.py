"""A fake AWS: moto in a process of its own, on this machine's loopback.

One serves a whole test run, with `reset` between tests. Lab machines reach it through a `FaultProxy` that
listens in their network; a test reaches it directly, whatever fault is on.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config

from tests.canary.gate import GATE

REGION = "us-east-1"
# What programs that talk to the fake AWS have in their environment, beside AWS_ENDPOINT_URL.
FAKE_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAFAKELAB000000000",
    "AWS_SECRET_ACCESS_KEY": "fake-secret-access-key",
    "AWS_DEFAULT_REGION": REGION,
}
# The program ends when its standard input does: with us, even if we are killed.
_SERVER = """
import sys, threading
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""


class FakeAws:
    """Secrets Manager (and all else that moto plays) at `address`.

    Secrets are made and changed through the few verbs below; `secretsmanager` is the client for the rest.
    """

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None
        self._port = 0
        # Any: boto3 makes its clients' methods at run time.
        self.secretsmanager: Any = None

    @classmethod
    def local(cls) -> FakeAws:
        """One to be used in a `with` statement; starting takes about a second. No root needed."""
        return cls()

    def __enter__(self) -> Self:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=clean | FAKE_CREDENTIALS,
        )
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        if not line:
            self.__exit__(None, None, None)
            raise RuntimeError("moto did not start: is moto[server] installed in this Python?")
        self._port = int(line)
        self.secretsmanager = self.client()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.communicate(timeout=3)
            self._server.kill()
            self._server.wait()
            self._server = None

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self._port)

    @property
    def url(self) -> str:
        """For AWS_ENDPOINT_URL of a program on this machine."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a program on this machine needs to use this AWS and no other."""
        return {**FAKE_CREDENTIALS, "AWS_ENDPOINT_URL": self.url, "AWS_EC2_METADATA_DISABLED": "true"}

    def client(
        self,
        service: str = "secretsmanager",
        *,
        url: str | None = None,
        region: str = REGION,
        read_timeout_s: float = 5.0,
        ca_file: Path | None = None,
    ) -> Any:
        """A client that never retries; `url` may be a proxy's, and `ca_file` the proxy's authority's."""
        session = boto3.session.Session(
            aws_access_key_id=FAKE_CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=FAKE_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            region_name=region,
        )
        config = Config(
            connect_timeout=2, read_timeout=read_timeout_s, retries={"max_attempts": 0}, proxies={}
        )
        verify = None if ca_file is None else str(ca_file)
        return session.client(service, endpoint_url=url or self.url, config=config, verify=verify)

    def reset(self) -> None:
        """Forgets everything: the account is new again."""
        request = urllib.request.Request(f"{self.url}/moto-api/reset", method="POST", data=b"")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(request, timeout=10).close()

    def create(self, name: str, value: str | bytes | dict[str, object]) -> str:
        """Makes a secret and returns its ARN; a dict becomes a JSON object."""
        GATE.learn(value)
        if isinstance(value, bytes):
            return str(self.secretsmanager.create_secret(Name=name, SecretBinary=value)["ARN"])
        return str(self.secretsmanager.create_secret(Name=name, SecretString=_text(value))["ARN"])

    def put(self, name: str, value: str | bytes | dict[str, object]) -> str:
        """Gives a secret a new current version and returns the version's id."""
        GATE.learn(value)
        if isinstance(value, bytes):
            return str(self.secretsmanager.put_secret_value(SecretId=name, SecretBinary=value)["VersionId"])
        return str(
            self.secretsmanager.put_secret_value(SecretId=name, SecretString=_text(value))["VersionId"]
        )

    def delete(self, name: str, *, at_once: bool = False) -> None:
        """Schedules a secret's deletion; `at_once`, it is gone."""
        if at_once:
            self.secretsmanager.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        else:
            self.secretsmanager.delete_secret(SecretId=name, RecoveryWindowInDays=7)

    def restore(self, name: str) -> None:
        """Takes a scheduled deletion back."""
        self.secretsmanager.restore_secret(SecretId=name)

    def version(self, name: str, *, stage: str = "AWSCURRENT") -> str:
        """The id of the version that carries `stage`. Raises LookupError."""
        stages = self.secretsmanager.describe_secret(SecretId=name)["VersionIdsToStages"]
        for version_id, labels in stages.items():
            if stage in labels:
                return str(version_id)
        raise LookupError(f"{name} has no version with the stage {stage}")


def _text(value: str | dict[str, object]) -> str:
    return value if isinstance(value, str) else json.dumps(value)
