"""The installed package with a real OpenBao server: TLS, AppRole, and a seal in between."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.canary.scan import shows
from tests.lab.openbao import OpenBao
from tests.system.machine import Machine, eventually, on_bookworm

pytestmark = pytest.mark.system

_SOURCE = """
[sources.aws]
type = "vault"
address = "{address}"
ca_file = "/etc/secretsd/vault-ca.pem"
login = {{ method = "approle", role_id = "{role_id}", secret_id = "credential:vault-secret-id" }}
"""
_FILE = "cat /run/secretsd/bot/env"


@pytest.fixture
def server(machine: Machine, tmp_path: Path) -> Iterator[OpenBao]:
    """The server that the machine's only source reads, by a role that may read bot/production."""
    prefix = ("nsenter", "-t", str(machine.host.leader), "-n")
    with OpenBao(tmp_path / "bao", prefix) as server:
        server.initialise()
        server.allow("bot", "secret/data/bot/*")
        role_id, secret_id = server.new_role("bot", "bot")
        machine.configure()
        source = _SOURCE.format(address=server.tls_address, role_id=role_id)
        machine.host.put("/etc/secretsd/secretsd.toml", f'[daemon]\nrefresh_interval = "1h"\n{source}')
        machine.host.put("/etc/secretsd/vault-ca.pem", server.ca_file.read_bytes())
        machine.host.sh("mkdir -p -m 700 /etc/credstore")
        machine.host.put("/etc/credstore/vault-secret-id", secret_id, mode=0o600)
        machine.drop_in("secretsd", "LoadCredential=vault-secret-id")
        yield server


@on_bookworm
def test_a_rotation_reaches_the_bot_and_a_seal_stops_nothing(machine: Machine, server: OpenBao) -> None:
    machine.add_bot("bot", None)
    server.put("bot/production", {"API_KEY": "fake-key-1"})
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    assert machine.seen("bot") == ["start fake-key-1"]
    secret = machine.status("bot")["secrets"][0]
    assert secret["version_id"] == "1"

    server.put("bot/production", {"API_KEY": "fake-key-2"})
    assert machine.reload_secretsd() == 0
    assert machine.seen("bot")[-1] == "reload fake-key-2"

    server.seal()
    exit_code, output = machine.secretsctl("reload")
    assert exit_code == 69, output
    (failure,) = machine.status("bot")["failures"]
    assert (failure["failure_class"], failure["code"]) == ("transient", "vault-sealed")
    assert "bao operator unseal" in failure["advice"]
    machine.restart_secretsd()
    machine.host.systemctl("restart", "bot")
    assert machine.seen("bot")[-1] == "start fake-key-2", "a bot starts on the last good files"

    server.unseal()
    server.put("bot/production", {"API_KEY": "fake-key-3"})
    eventually(lambda: machine.reload_secretsd() == 0, "the unsealed server is asked again")
    assert machine.seen("bot")[-1] == "reload fake-key-3"
    rolled = machine.secretsctl("rollback", "bot", "--reason", "fake-reason")
    assert rolled[0] == 0, rolled[1]
    assert "fake-key-2" in machine.host.sh(_FILE)
    assert machine.status("bot")["secrets"][0]["version_id"] == "2"

    exit_code, output = machine.secretsctl("doctor")
    assert "found: approle" in output, output
    assert f"{server.tls_address} answers" in output
    assert not shows(output + rolled[1]), "the gate looks at the rest"


@on_bookworm
def test_the_sandbox_lets_the_daemon_ask_over_a_unix_socket(machine: Machine, server: OpenBao) -> None:
    with _socket_in(machine, "/run/openbao.sock", server):
        machine.host.put("/etc/secretsd/token", server.token, mode=0o640, owner="root:secretsd")
        machine.host.put(
            "/etc/secretsd/secretsd.toml",
            '[sources.aws]\ntype = "vault"\naddress = "unix:///run/openbao.sock"\n'
            'login = { method = "token", token = "file:/etc/secretsd/token" }\n',
        )
        machine.add_bot("bot", None)
        server.put("bot/production", {"API_KEY": "fake-key-1"})
        machine.restart_secretsd()
        machine.host.systemctl("start", "bot")
        assert machine.seen("bot") == ["start fake-key-1"]


@contextlib.contextmanager
def _socket_in(machine: Machine, path: str, server: OpenBao) -> Iterator[None]:
    """The server's socket, in the machine's own file system."""
    inside = f"/proc/{machine.host.leader}/root{path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(inside)
        os.chmod(inside, 0o666)
        listener.listen()
        threading.Thread(target=_relay_all, args=(listener, server), daemon=True).start()
        yield
        listener.shutdown(socket.SHUT_RDWR)


def _relay_all(listener: socket.socket, server: OpenBao) -> None:
    with contextlib.suppress(OSError):  # the listener's end
        while True:
            client = listener.accept()[0]
            upstream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            upstream.connect(server.unix_address.removeprefix("unix://"))
            for source, target in ((client, upstream), (upstream, client)):
                threading.Thread(target=_relay, args=(source, target), daemon=True).start()


def _relay(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
