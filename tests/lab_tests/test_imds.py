"""The fake metadata service behaves as an instance's does where secretsd depends on it."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys

import pytest

from tests.lab.imds import ROLE, FakeImds, Mode

ROLE_PATH = "/latest/meta-data/iam/security-credentials/"
TTL = "X-aws-ec2-metadata-token-ttl-seconds"


def ask(imds: FakeImds, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection(*imds.address, timeout=5)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def token(imds: FakeImds) -> dict[str, str]:
    return {"X-aws-ec2-metadata-token": ask(imds, "PUT", "/latest/api/token", {TTL: "60"})[1]}


def credentials_by_botocore(imds: FakeImds) -> str:
    script = (
        "import botocore.session\n"
        "c = botocore.session.get_session().get_credentials()\n"
        "print('none' if c is None else c.access_key)"
    )
    environment = {"PATH": os.environ["PATH"], "AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.url}
    environment |= {"AWS_METADATA_SERVICE_TIMEOUT": "1", "AWS_METADATA_SERVICE_NUM_ATTEMPTS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_botocore_finds_the_role(imds: FakeImds) -> None:
    assert credentials_by_botocore(imds) == imds.access_key_id
    assert imds.requests == {"token": 1, "role": 1, "credentials": 1}


def test_renewed_credentials_are_others(imds: FakeImds) -> None:
    before = imds.access_key_id
    imds.renew()
    assert credentials_by_botocore(imds) == imds.access_key_id != before


def test_version_1_is_refused(imds: FakeImds) -> None:
    assert ask(imds, "GET", ROLE_PATH)[0] == 401
    assert ask(imds, "GET", ROLE_PATH, {"X-aws-ec2-metadata-token": "made-up"})[0] == 401


@pytest.mark.parametrize("headers", [{}, {TTL: "0"}, {TTL: "21601"}, {TTL: "soon"}])
def test_a_token_needs_a_lifetime(imds: FakeImds, headers: dict[str, str]) -> None:
    assert ask(imds, "PUT", "/latest/api/token", headers)[0] == 400


def test_a_forwarded_request_gets_no_token(imds: FakeImds) -> None:
    assert ask(imds, "PUT", "/latest/api/token", {TTL: "60", "X-Forwarded-For": "192.0.2.1"})[0] == 403


def test_expiry_is_as_set(imds: FakeImds) -> None:
    imds.expires_in_s = -60
    status, body = ask(imds, "GET", ROLE_PATH + ROLE, token(imds))
    assert status == 200
    assert '"Expiration": "20' in body


def test_errors_and_a_missing_role(imds: FakeImds) -> None:
    held = token(imds)
    imds.mode = Mode.NO_ROLE
    assert ask(imds, "GET", ROLE_PATH, held)[0] == 404
    imds.mode = Mode.ERROR
    assert ask(imds, "GET", ROLE_PATH, held)[0] == 500
    assert credentials_by_botocore(imds) == "none"


def test_slow_is_slow(imds: FakeImds) -> None:
    imds.mode, imds.slow_s = Mode.SLOW, 3.0
    assert credentials_by_botocore(imds) == "none"


def test_down_refuses_connections_and_comes_back(imds: FakeImds) -> None:
    address = imds.address
    imds.stop()
    with pytest.raises(ConnectionRefusedError):
        ask(imds, "GET", ROLE_PATH)
    imds.start()
    assert imds.address == address
    assert ask(imds, "GET", ROLE_PATH, token(imds)) == (200, ROLE)
