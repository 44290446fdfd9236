"""The sockets of monitors: who may read, what a bad client costs, and that nobody holds up the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from pathlib import Path

import pytest

from secretsd.monitor import exposition, server
from secretsd.monitor.access import Readers
from secretsd.monitor.server import MonitorServer, Pages
from secretsd.monitor.sockets import Port, Sockets
from secretsd.signing.model import Peer
from tests.control.asking import NOBODY, needs_root
from tests.monitor.asking import Watched, get, split
from tests.refresh.daemon import Home, live

AS_ANOTHER = """
import os, socket, sys
path, uid, groups = sys.argv[1:]
os.setgroups([int(group) for group in groups.split()])
os.setgid(int(uid))
os.setuid(int(uid))
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(path)
    connection.sendall(b"GET /metrics HTTP/1.1\\r\\n\\r\\n")
    while piece := connection.recv(65536):
        os.write(1, piece)
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def listening(home: Home, port: int) -> Home:
    home.config.write_text(home.config.read_text() + f'[metrics]\nlisten = "127.0.0.1:{port}"\n')
    return home


async def ask_port(port: int, what: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(get(what))
    answer = await reader.read()
    writer.close()
    return split(answer)


def test_each_path_answers_and_others_say_what_there_is(home: Home) -> None:
    async def scenario() -> None:
        async with home.helper(), Watched(home) as daemon:
            await daemon.loaded()
            assert await daemon.ask("/healthz") == (200, "ok\n")
            assert await daemon.ask("/readyz") == (200, "ready\n")
            status, text = await daemon.ask("/readyz?verbose")
            assert (status, text.splitlines()[0]) == (200, "ready")
            assert "ok    bundle bot: published" in text.splitlines()
            assert (await daemon.ask("/"))[0] == 404
            assert "/readyz" in (await daemon.ask("/favicon.ico"))[1]
            head = await daemon.send(b"HEAD /metrics HTTP/1.1\r\n\r\n")
            assert head.endswith(b"\r\n\r\n")
            assert b"Content-Type: text/plain; version=0.0.4" in head
            head = await daemon.send(get("/metrics"))
            assert b"Content-Type: application/openmetrics-text; version=1.0.0" in head

    live(scenario())


def test_bad_clients_are_answered_and_the_others_go_on(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_REQUEST_S", 0.2)

    async def scenario() -> None:
        async with home.helper(), Watched(home) as daemon:
            assert split(await daemon.send(b"POST / HTTP/1.1\r\n\r\n"))[0] == 405
            assert split(await daemon.send(b"GET /metr"))[0] == 408
            assert split(await daemon.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 9000))[0] == 431
            slow = split(await daemon.send(b"GET /heal", b"thz HTTP/1.1\r\n", b"\r\n", pause_s=0.01))
            assert slow == (200, "ok\n")
            for _ in range(20):
                _, writer = await asyncio.open_unix_connection(daemon.path)
                writer.close()
            assert (await daemon.ask("/healthz"))[0] == 200

    live(scenario())


def test_more_connections_than_a_host_has_monitors_are_turned_away(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_REQUEST_S", 0.5)

    async def scenario() -> None:
        async with home.helper(), Watched(home) as daemon:
            idle = [await asyncio.open_unix_connection(daemon.path) for _ in range(32)]
            await asyncio.sleep(0.05)
            with contextlib.suppress(ConnectionError):
                assert await daemon.send(get("/healthz")) == b""
            await asyncio.sleep(0.6)
            assert (await daemon.ask("/healthz"))[0] == 200
            for _, writer in idle:
                writer.close()

    live(scenario())


def test_a_client_that_does_not_read_its_page_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_SEND_S", 0.2)
    monkeypatch.setattr(exposition, "encoded", lambda _: b"x" * 50_000_000)
    pages = Pages("refresher", exposition.Sheet, tuple)
    path = tmp_path / "m"

    async def scenario() -> None:
        serving = asyncio.create_task(MonitorServer(pages, Sockets((path,))).run())
        while not path.exists():  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.005)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(get("/metrics"))
        await asyncio.sleep(0.6)
        with contextlib.suppress(ConnectionError):
            assert len(await reader.read()) < 50_000_000
        writer.close()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        assert not path.exists(), "the socket went with its daemon"

    live(scenario())


@needs_root
def test_strangers_are_refused_and_the_group_is_not(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_reading_groups", lambda: frozenset({12345}))
    for directory in (home.directory, *list(home.directory.parents)[:3]):
        directory.chmod(0o755)

    async def ask_as(daemon: Watched, groups: str) -> tuple[int, str]:
        arguments = (str(daemon.path), str(NOBODY), groups)
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-c", AS_ANOTHER, *arguments, stdout=asyncio.subprocess.PIPE
        )
        answer, _ = await client.communicate()
        return split(answer)

    async def scenario() -> None:
        async with home.helper(), Watched(home) as daemon:
            assert (await ask_as(daemon, "12345"))[0] == 200
            status, sentence = await ask_as(daemon, "")
            assert status == 403
            assert "secretsd-metrics" in sentence
            assert "prod/bot" not in sentence

    live(scenario())


def test_who_reads() -> None:
    def peer(uid: int, *gids: int) -> Peer:
        return Peer(1, uid, frozenset(gids), None, 0)

    readers = Readers(900, frozenset({50}))
    assert readers.include(peer(0))
    assert readers.include(peer(900))
    assert readers.include(peer(4000, 7, 50))
    assert not readers.include(peer(4000, 7))
    assert not Readers(900, frozenset()).include(peer(4000))


def test_the_port_of_the_loopback_is_served_beside_the_socket(home: Home) -> None:
    port = free_port()

    async def scenario() -> None:
        async with home.helper(), Watched(listening(home, port)) as daemon:
            assert (await daemon.ask("/readyz"))[0] == 200
            await asyncio.sleep(0.1)  # the port is opened after the socket
            assert (await ask_port(port, "/readyz"))[0] == 200

    live(scenario())


def test_a_port_that_is_taken_keeps_nobody_from_work_and_is_tried_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secretsd.monitor.sockets._RETRY_S", 0.05)
    port = free_port()

    async def scenario() -> None:
        taken = socket.create_server(("127.0.0.1", port))
        async with home.helper(), Watched(listening(home, port)) as daemon:
            await daemon.loaded()
            _, document = await daemon.health()
            (said,) = [each for each in document["checks"] if each["check"] == "metrics"]
            assert (document["state"], said["state"]) == ("degraded", "warn")
            assert f"127.0.0.1:{port}: Address already in use" in said["detail"]
            taken.close()
            until = time.monotonic() + 5
            while (await daemon.health())[1]["state"] != "ready":
                assert time.monotonic() < until
                await asyncio.sleep(0.02)
            assert (await ask_port(port, "/healthz"))[0] == 200

    live(scenario())


def test_a_reload_moves_the_port_and_the_socket(home: Home) -> None:
    before, behind = free_port(), free_port()

    async def scenario() -> None:
        async with home.helper(), Watched(listening(home, before)) as daemon:
            await asyncio.sleep(0.1)
            assert (await ask_port(before, "/readyz"))[0] == 200
            moved = home.directory / "moved.sock"
            text = home.config.read_text().replace(str(before), str(behind))
            home.config.write_text(text + f'socket = "{moved}"\n')
            await daemon.conductor.reload_configuration()
            await asyncio.sleep(0.1)
            assert (await ask_port(behind, "/readyz"))[0] == 200
            with pytest.raises(ConnectionError):
                await ask_port(before, "/readyz")
            assert (moved.exists(), daemon.path.exists()) == (True, False)
            home.config.write_text(text.partition("[metrics]")[0])
            await daemon.conductor.reload_configuration()
            await asyncio.sleep(0.1)
            with pytest.raises(ConnectionError):
                await ask_port(behind, "/readyz")
            assert (await daemon.ask("/readyz"))[0] == 200

    live(scenario())


def test_a_port_that_is_taken_leaves_the_former_one_after_a_reload(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secretsd.monitor.sockets._RETRY_S", 0.1)
    before, behind = free_port(), free_port()

    async def scenario() -> None:
        async with home.helper(), Watched(listening(home, before)) as daemon:
            taken = socket.create_server(("127.0.0.1", behind))
            home.config.write_text(home.config.read_text().replace(str(before), str(behind)))
            await daemon.conductor.reload_configuration()
            await asyncio.sleep(0.3)
            for what in (await ask_port(before, "/readyz?verbose"), await daemon.ask("/readyz?verbose")):
                assert f"not served on 127.0.0.1:{behind}: Address already in use" in what[1]
            taken.close()
            await asyncio.sleep(0.3)
            assert (await ask_port(behind, "/readyz"))[0] == 200
            assert "not served" not in (await daemon.ask("/readyz?verbose"))[1]
            with pytest.raises(ConnectionError):
                await ask_port(before, "/readyz")

    live(scenario())


def test_the_socket_of_a_dead_daemon_is_replaced_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    dead, living = tmp_path / "dead", tmp_path / "living"
    for path in (dead, living):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.fspath(path))
        if path == dead:
            listener.close()
        else:
            listener.listen()
    sockets = Sockets((dead, living))

    async def scenario() -> None:
        pages = Pages("refresher", exposition.Sheet, tuple)
        serving = asyncio.create_task(MonitorServer(pages, sockets).run())
        await asyncio.sleep(0.2)
        reader, writer = await asyncio.open_unix_connection(dead)
        writer.write(get("/healthz"))
        assert split(await reader.read()) == (200, "ok\n")
        writer.close()
        assert sockets.problems == [
            f"metrics and health are not served on {living}: another process listens there"
        ]
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        assert living.exists()

    live(scenario())
    listener.close()


def test_a_port_is_written_as_in_the_configuration() -> None:
    assert (str(Port("127.0.0.1", 9478)), str(Port("::1", 9478))) == ("127.0.0.1:9478", "[::1]:9478")
