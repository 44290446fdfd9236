"""Metrics and health of the installed daemons: who may read them, by which ways, and what a stop stops."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.host import Host
from tests.system.machine import eventually

pytestmark = pytest.mark.system

SETUP = "/usr/libexec/secretsd/setup-softhsm"
REFRESHER, SIGNER = "/run/secretsd/metrics.sock", "/run/secretsd-signer/metrics.sock"
# Prints the status and the body of a GET; the address is a path or HOST:PORT.
GET = """
import socket, sys
address, what = sys.argv[1:]
unix = address.startswith("/")
with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as connection:
    connection.settimeout(10)
    host, _, port = address.partition(":")
    connection.connect(address if unix else (host, int(port)))
    connection.sendall(f"GET {what} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode())
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
head, _, content = answer.partition(b"\\r\\n\\r\\n")
print(head.split()[1].decode(), content.decode())
"""


@pytest.fixture
def host(suite: str, deb: Path) -> Iterator[Host]:
    with Host(suite, deb=deb) as host:
        host.run([SETUP], timeout_s=120)
        yield host


def get_page(host: Host, address: str, what: str, *, user: str | None = None) -> tuple[int, str]:
    done = host.run(["python3", "-c", GET, address, what], user=user, check=False)
    assert done.returncode == 0, done.stderr
    status, _, content = done.stdout.partition(" ")
    return int(status), content


def test_monitors_read_both_daemons_and_nobody_else_does(host: Host) -> None:
    host.sh("useradd --system --groups secretsd-metrics prometheus; useradd --system stranger")
    for address, own in (
        (REFRESHER, "secretsd_workers_lost_total 0.0"),
        (SIGNER, "secretsd_signer_token_up 1.0"),
    ):
        status, page = get_page(host, address, "/metrics", user="prometheus")
        assert status == 200
        assert page.startswith("# HELP ")
        assert own in page
        assert get_page(host, address, "/healthz", user="prometheus") == (200, "ok\n\n")
        status, sentence = get_page(host, address, "/metrics", user="stranger")
        assert status == 403
        assert "secretsd-metrics" in sentence

    done = host.run(["secretsctl", "health"], user="prometheus", check=False)
    assert done.returncode == 78, "the setup configures a key that is yet to be made"
    assert "secretsctl keys generate demo" in done.stdout
    host.run(["secretsctl", "keys", "generate", "demo"])
    document = json.loads(host.run(["secretsctl", "health", "--json"], user="prometheus").stdout)
    assert document["state"] == "ready"
    assert {each["daemon"] for each in document["daemons"]} == {"refresher", "signer"}
    refused = host.run(["secretsctl", "health"], user="stranger", check=False)
    assert refused.returncode == 77
    assert "secretsd-metrics" in refused.stdout

    _ports_as_in_the_documentation(host)
    _a_stop_is_not_undone_by_a_scrape(host)


def _ports_as_in_the_documentation(host: Host) -> None:
    host.put("/etc/secretsd/conf.d/metrics.toml", '[metrics]\nlisten = "127.0.0.1:9478"\n')
    host.run(["secretsctl", "reload"], check=False)
    host.put(
        "/etc/systemd/system/secretsd-signer-metrics.socket.d/port.conf",
        "[Socket]\nListenStream=127.0.0.1:9479\n",
    )
    host.systemctl("daemon-reload")
    host.systemctl("stop", "secretsd-signer")
    host.systemctl("restart", "secretsd-signer-metrics.socket")
    host.systemctl("start", "secretsd-signer")
    for address, daemon in (("127.0.0.1:9478", "refresher"), ("127.0.0.1:9479", "signer")):
        status, page = get_page(host, address, "/metrics")
        assert status == 200
        assert f'secretsd_build_info{{daemon="{daemon}"' in page
    assert get_page(host, SIGNER, "/healthz")[0] == 200, "beside the port"


def _a_stop_is_not_undone_by_a_scrape(host: Host) -> None:
    host.systemctl("stop", "secretsd-signer.socket", "secretsd-signer-native.socket")

    def is_down() -> bool:
        return host.systemctl("is-active", "secretsd-signer", check=False).stdout == "inactive\n"

    eventually(is_down, "the signer has stopped")
    done = host.run(["secretsctl", "health"], check=False)
    assert "signer" not in done.stdout
    assert is_down()
