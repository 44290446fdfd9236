"""The paths of secretsctl on the real daemon: a key is made, used, and retired."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.signing.http import real_signer as real_signer_module
from tests.signing.http.real_signer import RealSigner

MESSAGE = "YnV5IDEgQlRD"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[RealSigner]:
    """One of the test's own, since its keys change."""
    with real_signer_module.running(tmp_path) as signer:
        yield signer


def test_a_version_is_made_used_and_retired(daemon: RealSigner) -> None:
    key = "/v1/secretsd/keys/ecdsa-p256"
    status, content, _ = daemon.ask("POST", f"{key}/generate", {})
    assert (status, content["data"]["version"]) == (200, 2)
    sign = "/v1/transit/sign/ecdsa-p256"
    newest = daemon.ask("POST", sign, {"input": MESSAGE})[1]["data"]
    oldest = daemon.ask("POST", sign, {"input": MESSAGE, "key_version": 1})[1]["data"]
    assert newest["signature"].startswith("vault:v2:")
    assert oldest["signature"].startswith("vault:v1:")
    assert daemon.ask("POST", f"{key}/retire", {"version": 1})[0] == 200
    status, _, headers = daemon.ask("POST", sign, {"input": MESSAGE, "key_version": 1})
    assert (status, headers["X-Secretsd-Error"]) == (400, "version-retired")
    # What it signed is still good.
    verify = {"input": MESSAGE, "signature": oldest["signature"]}
    assert daemon.ask("POST", "/v1/transit/verify/ecdsa-p256", verify)[1]["data"] == {"valid": True}
    described = daemon.ask("GET", "/v1/transit/keys/ecdsa-p256")[1]["data"]
    assert (described["latest_version"], described["min_encryption_version"]) == (2, 2)
    assert set(described["keys"]) == {"1", "2"}


def test_a_connection_whose_process_has_ended_makes_no_keys(daemon: RealSigner) -> None:
    """A descriptor that leaked out of root's shell would administer the signer for ever."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            ours.close()
            connected = daemon.connect()
            socket.send_fds(theirs, [b"it"], [connected.fileno()])
            theirs.recv(1)
        os._exit(0)
    theirs.close()
    _, (leaked,), _, _ = socket.recv_fds(ours, 2, 1)
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(fileno=leaked)
    connection.sock.settimeout(10)

    def generate() -> tuple[int, str | None]:
        connection.request("POST", "/v1/secretsd/keys/hmac/generate", b"{}")
        response = connection.getresponse()
        response.read()
        return response.status, response.getheader("X-Secretsd-Error")

    assert generate() == (200, None), "the connection is no good: nothing would be shown"
    ours.send(b"!")
    os.waitpid(child, 0)
    assert generate() == (403, "peer-gone")
    assert daemon.ask("GET", "/v1/transit/keys/hmac")[1]["data"]["latest_version"] == 2
    for each in (connection, ours):
        each.close()


def test_what_an_operator_looks_at(daemon: RealSigner) -> None:
    for what in ("keys", "approvals", "report"):
        status, content, _ = daemon.ask("GET", f"/v1/secretsd/{what}")
        assert status == 200
        assert isinstance(content["data"], dict)
    status, _, headers = daemon.ask("POST", "/v1/secretsd/keys/no-such-key/generate", {})
    assert (status, headers["X-Secretsd-Error"]) == (400, "unknown-key")
