"""The control socket under strangers, slow and malformed requests, and a directory service that hangs."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from secretsd.control import client, server
from secretsd.control.protocol import Reply
from secretsd.errors import ExitCode, LocalIOError
from secretsd.signing.model import Peer
from tests.control.asking import NOBODY, Served, line, needs_root
from tests.refresh.daemon import Home, a_bundle, live

COMMANDS = ["status", "wait", "reload", "plan", "ack", "no-such-command"]
GROUP = 54321


def pretend_to_be(monkeypatch: pytest.MonkeyPatch, uid: int, *groups: int) -> None:
    """Everyone who connects counts as this user: quicker than a process of theirs."""
    monkeypatch.setattr(server, "peer_of", lambda _: Peer(1, uid, frozenset(groups), None, 0))


def owned(home: Home) -> Home:
    """bot belongs to nobody, other to the user of the test."""
    home.configure(a_bundle(keys='owner = "nobody"', more=""), a_bundle("other", more=""))
    return home


@needs_root
@pytest.mark.parametrize("command", COMMANDS)
def test_a_stranger_may_do_nothing(home: Home, socket_path: Path, command: str) -> None:
    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            for bundle in ("bot", None, "no-such-bundle"):
                reply = await served.ask_as(NOBODY, command, bundle)
                assert reply.code is ExitCode.REFUSED
                assert "only root and the group secretsd-admin" in reply.message
                assert "fake-token" not in str(reply)

    live(scenario())


@needs_root
def test_an_owner_may_look_wait_and_acknowledge_and_see_nothing_of_others(
    home: Home, socket_path: Path
) -> None:
    owned(home)

    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            status = await served.ask_as(NOBODY, "status")
            assert (status.code, set(status.body["bundles"])) == (ExitCode.OK, {"bot"})  # type: ignore[call-overload]
            assert (await served.ask_as(NOBODY, "wait", "bot")).code is ExitCode.OK
            for command in ("reload", "plan"):
                for bundle in ("bot", None):
                    assert (await served.ask_as(NOBODY, command, bundle)).code is ExitCode.REFUSED
            for command in ("status", "wait", "ack"):
                assert (await served.ask_as(NOBODY, command, "other")).code is ExitCode.REFUSED

    live(scenario())


@needs_root
def test_a_member_of_the_admin_group_may_do_everything_also_if_it_is_not_his_first_group(
    home: Home, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.configure(a_bundle(more=""))
    monkeypatch.setattr(grp, "getgrnam", lambda name: grp.struct_group((name, "x", GROUP, [])))

    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            for groups in ((GROUP,), (5, 6, GROUP)):
                assert (await served.ask_as(NOBODY, "reload", groups=groups)).code is ExitCode.OK
            assert (await served.ask_as(NOBODY, "reload", groups=(5, 6))).code is ExitCode.REFUSED
            # More groups than the kernel's answer has room for: rather refused than guessed.
            many = (*range(10_000, 10_300), GROUP)
            assert (await served.ask_as(NOBODY, "reload", groups=many)).code is ExitCode.REFUSED

    live(scenario())


@pytest.mark.parametrize(
    "request_line",
    [
        b"status\n",
        b"\n",
        b"\xff\xfe\n",
        b"[]\n",
        b'{"bundle": "bot"}\n',
        b'{"command": "status", "bundle": 3}\n',
        b'{"command": "status", "bundle": {"bundle": "bot"}}\n',
        b'{"command": "wait"}\n',
        b'{"command": "wait", "bundle": "bot", "timeout": "soon"}\n',
        b'{"command": "wait", "bundle": "bot", "timeout": -1}\n',
        b'{"command": "wait", "bundle": "bot", "max_age": [1]}\n',
        b'{"command": "ack", "bundle": "bot"}\n',
        b'{"command": "ack", "bundle": "bot", "generation": "1"}\n',
        b'{"command": "status", "bundle": "\\ud800"}\n',
        b'{"command": "\\ud800"}\n',
        b'{"command": "schema", "bundle": "\\ud800", "source": "aws", "id": "x"}\n',
        b'{"command": "schema", "bundle": "\\u001b[31mbot", "source": "aws", "id": "x"}\n',
        b'{"command": "wait", "bundle": "bot", "timeout": "\\ud800"}\n',
        b"[" * 4000 + b"\n",
        b"x" * 4097 + b"\n",
        b"x" * 100_000,
    ],
)
def test_a_malformed_request_is_a_usage_error_and_the_daemon_goes_on(
    home: Home, socket_path: Path, request_line: bytes
) -> None:
    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            assert (await served.send(request_line)).code is ExitCode.USAGE
            assert (await served.ask("status")).code is ExitCode.OK

    live(scenario())


def test_a_request_of_4_kib_is_read_and_one_byte_more_is_not(home: Home, socket_path: Path) -> None:
    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            for size, code in ((4096, ExitCode.OK), (4097, ExitCode.USAGE)):
                request = line("status", filler="").rstrip()
                whole = request[:-2] + b"x" * (size - len(request)) + request[-2:] + b"\n"
                assert len(whole) == size + 1
                assert (await served.send(whole)).code is code

    live(scenario())


def test_a_request_that_comes_in_pieces_is_one_request(home: Home, socket_path: Path) -> None:
    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            pieces = [bytes([byte]) for byte in line("wait", "bot")]
            assert (await served.send(*pieces)).code is ExitCode.OK

    live(scenario())


def test_a_request_that_never_ends_is_given_up_and_delays_nobody(
    home: Home, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_ADMIN_LIMITS", replace(server._ADMIN_LIMITS, request_s=0.6))

    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            slow = [asyncio.create_task(served.send(b'{"command": ')) for _ in range(20)]
            await asyncio.sleep(0.01)
            before = time.monotonic()
            assert (await served.ask("status")).code is ExitCode.OK
            assert time.monotonic() - before < 0.5
            assert {reply.code for reply in await asyncio.gather(*slow)} == {ExitCode.USAGE}

    live(scenario())


def test_a_client_that_has_closed_its_sending_side_gets_its_answer(home: Home, socket_path: Path) -> None:
    home.vault.hang("prod/bot")

    async def scenario() -> None:
        async with Served(home, socket_path, ready=False) as served:
            waiting = asyncio.create_task(served.send(line("wait", "bot", timeout="5s"), half_close=True))
            await asyncio.sleep(0.05)
            home.vault.open_gate.set()
            assert (await waiting).code is ExitCode.OK
            assert (await served.send(b'{"command"', half_close=True)).code is ExitCode.USAGE
            assert (await served.send(half_close=True)).code is ExitCode.USAGE

    live(scenario())


def test_clients_that_leave_are_not_waited_for(
    home: Home, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_HANG_UP_CHECK_S", 0.02)
    home.vault.hang("prod/bot")

    async def scenario() -> None:
        async with Served(home, socket_path, ready=False) as served:
            for _ in range(30):
                with socket.socket(socket.AF_UNIX) as leaving:
                    leaving.connect(str(socket_path))
                    leaving.sendall(line("wait", "bot", timeout="1h"))
                await asyncio.sleep(0)
            await asyncio.sleep(0.3)
            assert not served.server._connections
            assert (await served.ask("status")).code is ExitCode.OK
            home.vault.open_gate.set()

    live(scenario())


def test_descriptors_that_a_client_sends_along_stay_outside(home: Home, socket_path: Path) -> None:
    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            await served.ask("status")
            before = len(os.listdir("/proc/self/fd"))
            with socket.socket(socket.AF_UNIX) as sender:
                await asyncio.to_thread(sender.connect, str(socket_path))
                socket.send_fds(sender, [line("status")], [0] * 20)
                await asyncio.to_thread(sender.recv, 65536)
            await served.ask("status")
            await asyncio.sleep(0.5)  # the server closes its ends a moment after it has answered
            assert len(os.listdir("/proc/self/fd")) <= before

    live(scenario())


@pytest.mark.parametrize("pause_s", [0.0, 0.05])
def test_one_uid_with_too_many_open_requests_is_told_so_and_keeps_no_other_out(
    home: Home, socket_path: Path, monkeypatch: pytest.MonkeyPatch, pause_s: float
) -> None:
    pretend_to_be(monkeypatch, NOBODY)
    connect = client._connect

    def connect_and_pause(connection: socket.socket, path: str) -> None:
        connect(connection, path)
        time.sleep(pause_s)  # its request comes before it is turned away, or after

    monkeypatch.setattr(client, "_connect", connect_and_pause)

    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            idle = [await asyncio.open_unix_connection(socket_path) for _ in range(8)]
            await asyncio.sleep(0.02)
            reply = await asked(socket_path)
            assert reply.code is ExitCode.TRY_AGAIN
            assert "too many open requests" in reply.message
            pretend_to_be(monkeypatch, 0)
            assert (await served.ask("status")).code is ExitCode.OK
            for _, writer in idle:
                writer.close()

    live(scenario())


async def asked(path: Path) -> Reply:
    """What the client of secretsctl makes of the daemon's answer."""
    return await asyncio.to_thread(client.ask, str(path), {"command": "status"}, timeout_s=5.0)


class Directory:
    """A directory service: counts the questions, and answers when `gate` is open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.begun = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self._getpwnam = pwd.getpwnam
        monkeypatch.setattr(server.pwd, "getpwnam", self)

    def __call__(self, name: str) -> pwd.struct_passwd:
        self.begun.set()
        assert threading.current_thread() is not threading.main_thread(), "the event loop waits for it"
        self.asked.append(name)
        self.gate.wait(10)
        return self._getpwnam(name)


def test_users_are_looked_up_once_for_each_configuration(
    home: Home, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned(home)
    pretend_to_be(monkeypatch, NOBODY)

    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            directory = Directory(monkeypatch)
            for _ in range(3):
                replies = await asyncio.gather(*(served.ask("status") for _ in range(5)))
                assert {reply.code for reply in replies} == {ExitCode.OK}
            assert directory.asked == ["nobody"]

    live(scenario())


def test_an_owner_that_a_reload_names_is_known_from_then_on(
    home: Home, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            pretend_to_be(monkeypatch, NOBODY)
            refused = await served.ask("wait", "added")
            assert refused.code is ExitCode.REFUSED
            assert "a bundle added lately needs systemctl reload secretsd" in refused.message
            home.configure(a_bundle("added", keys='owner = "nobody"', more=""))
            await served.conductor.reload_configuration()
            assert (await served.ask("wait", "added")).code is ExitCode.OK

    live(scenario())


def test_a_directory_service_that_hangs_delays_neither_root_nor_the_refreshes(
    home: Home, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned(home)

    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            directory = Directory(monkeypatch)
            directory.gate.clear()
            pretend_to_be(monkeypatch, NOBODY)
            # More than asyncio has threads: the journal is written in one of them, too.
            hanging = [asyncio.create_task(served.ask("status")) for _ in range(40)]
            assert await asyncio.to_thread(directory.begun.wait, 5)
            await asyncio.sleep(0.02)
            pretend_to_be(monkeypatch, 0)
            before = time.monotonic()
            home.vault.put("prod/bot", {"TOKEN": "fake-token-2"})
            assert (await served.ask("status")).code is ExitCode.OK
            await served.refresh("other")
            assert served.generation("other") == 2
            assert time.monotonic() - before < 1
            assert len(directory.asked) == 1
            directory.gate.set()
            assert {reply.code for reply in await asyncio.gather(*hanging)} == {ExitCode.OK}

    live(scenario())


def test_an_owner_whom_this_host_does_not_know_locks_nobody_else_out(
    home: Home, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned(home)

    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            monkeypatch.setattr(server.pwd, "getpwnam", lambda name: {}[name])
            pretend_to_be(monkeypatch, NOBODY)
            assert (await served.ask("wait", "bot")).code is ExitCode.REFUSED
            pretend_to_be(monkeypatch, os.geteuid())
            assert (await served.ask("wait", "other")).code is ExitCode.OK

    live(scenario())


def test_refusals_are_logged_at_most_once_a_minute_for_each_uid(
    home: Home, socket_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            for _ in range(5):
                for uid in (NOBODY, 4242):
                    pretend_to_be(monkeypatch, uid)
                    assert (await served.ask("reload")).code is ExitCode.REFUSED
            assert logged_uids(caplog) == [NOBODY, 4242]
            for uid in served.server._last_warned:
                served.server._last_warned[uid] -= 61
            assert (await served.ask("reload")).code is ExitCode.REFUSED
            assert logged_uids(caplog) == [NOBODY, 4242, 4242]

    live(scenario())


def logged_uids(caplog: pytest.LogCaptureFixture) -> list[int]:
    refused = [record for record in caplog.records if record.getMessage() == "control request refused"]
    return [vars(record)["uid"] for record in refused]


def test_a_bug_in_a_command_is_named_by_its_type_and_ends_nothing(
    home: Home, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with Served(home, socket_path) as served:

            async def buggy(*_: object) -> None:
                raise ZeroDivisionError("fake-detail")

            monkeypatch.setattr(served.server._recording.commands, "run", buggy)
            reply = await served.ask("status")
            assert reply.code is ExitCode.BUG
            assert "ZeroDivisionError" in reply.message
            assert "fake-detail" not in reply.message

    live(scenario())


def test_a_second_daemon_does_not_take_the_socket_and_a_dead_ones_gives_way(
    home: Home, socket_path: Path
) -> None:
    async def scenario() -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(socket_path))
        async with Served(home, socket_path) as served:
            assert (await served.ask("status")).code is ExitCode.OK
            with pytest.raises(LocalIOError, match="another secretsd listens"):
                await server.ControlServer(served.conductor).start(socket_path)
            assert (await served.ask("status")).code is ExitCode.OK
            assert socket_path.stat().st_mode & 0o777 == 0o666

    live(scenario())


def test_a_socket_that_cannot_be_made_is_an_error_with_its_path(home: Home, socket_path: Path) -> None:
    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            nowhere = socket_path.parent / "missing" / "control.sock"
            with pytest.raises(LocalIOError, match=str(nowhere)):
                await server.ControlServer(served.conductor).start(nowhere)

    live(scenario())


def test_the_real_client_reads_what_the_real_server_says(home: Home, socket_path: Path) -> None:
    async def scenario() -> None:
        async with Served(home, socket_path) as served:
            reply = await asked(socket_path)
            assert reply.code is ExitCode.OK
            (bundle,) = reply.body["bundles"].values()  # type: ignore[attr-defined]
            assert {**bundle, "next_refresh_s": 0} == {**served.status(), "next_refresh_s": 0}

    live(scenario())
