"""What a connection does with clients that are slow, greedy, hasty or gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from secretsd.signing.http import connection as connection_module
from tests.signing.http.fake_desk import FakeDesk, routes
from tests.signing.http.serving import Served, serving

BODY = b'{"input":"aGVsbG8="}'


def post(path: str = "hmac/hmac", body: bytes = BODY, more: bytes = b"") -> bytes:
    head = b"POST /v1/transit/%s HTTP/1.1\r\nHost: signer\r\nContent-Length: %d\r\n"
    return head % (path.encode(), len(body)) + more + b"\r\n" + body


def answers(client: socket.socket, count: int = 0) -> list[tuple[int, bytes]]:
    """Status and body of so many answers; of all until the end of the connection for 0."""
    found: list[tuple[int, bytes]] = []
    with client.makefile("rb") as stream:
        while not count or len(found) < count:
            try:
                line = stream.readline()
            except ConnectionResetError:  # the end, where the signer has not read all that was sent
                line = b""
            if not line:
                break
            length = 0
            while (header := stream.readline()) not in (b"\r\n", b""):
                if header.lower().startswith(b"content-length:"):
                    length = int(header.split(b":")[1])
            found.append((int(line.split()[1]), stream.read(length)))
    return found


def code(answer: tuple[int, bytes]) -> tuple[int, str]:
    return answer[0], json.loads(answer[1])["errors"][0].split(":")[0]


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def signer(request: pytest.FixtureRequest, desk: FakeDesk, tmp_path: Path) -> Iterator[Served]:
    """On both loops: the signer also runs where there is no uvloop."""
    with serving(routes(desk), tmp_path / "signer.sock", request.param) as served:
        yield served


@pytest.fixture
def slow_desk() -> FakeDesk:
    return FakeDesk(delay_s=0.02)


def test_a_connection_is_used_again(signer: Served) -> None:
    with signer.connect() as client:
        for _ in range(3):
            client.sendall(post())
            assert answers(client, 1)[0][0] == 200


@pytest.mark.parametrize("delay_s", [None, 0.005])
def test_pipelined_requests_are_answered_in_their_order(tmp_path: Path, delay_s: float | None) -> None:
    count = 200  # more than are read ahead
    paths = ["hmac/hmac/sha2-256", "hmac/hmac/sha2-512", "sign/no-such-key"]
    with serving(routes(FakeDesk(delay_s=delay_s)), tmp_path / "s") as signer, signer.connect() as client:
        client.sendall(b"".join(post(paths[number % 3]) for number in range(count)))
        found = answers(client, count)
    sizes = [len(body) for _, body in found]
    assert [status for status, _ in found] == [(200, 200, 400)[number % 3] for number in range(count)]
    assert len(set(sizes[0::3])) == len(set(sizes[1::3])) == 1
    assert sizes[0] < sizes[1]


def test_a_request_that_comes_byte_by_byte_is_one_request(signer: Served) -> None:
    for request in (post(), b"LIST /v1/transit/keys HTTP/1.1\r\nHost: signer\r\n\r\n"):
        with signer.connect() as client:
            for byte in request:
                client.sendall(bytes([byte]))
            assert answers(client, 1)[0][0] == 200


def test_lock_is_not_taken_for_list(signer: Served) -> None:
    with signer.connect() as client:
        client.sendall(b"LOCK /v1/transit/keys HTTP/1.1\r\nHost: signer\r\n\r\n")
        assert answers(client, 1)[0][0] == 405


def test_a_chunked_body_is_read(signer: Served) -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"
    with signer.connect() as client:
        client.sendall(
            b"POST /v1/transit/hmac/hmac HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
        )
        assert answers(client, 1)[0][0] == 200


def test_a_client_that_expects_100_gets_it_before_it_sends_the_body(signer: Served) -> None:
    head, _, _ = post(more=b"Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    with signer.connect() as client:
        client.sendall(head + b"\r\n\r\n")
        assert answers(client, 1) == [(100, b"")]
        client.sendall(BODY)
        assert answers(client, 1)[0][0] == 200


def test_a_client_that_stopped_sending_still_gets_its_answers(tmp_path: Path, slow_desk: FakeDesk) -> None:
    with serving(routes(slow_desk), tmp_path / "s") as signer, signer.connect() as client:
        client.sendall(post() * 3)
        client.shutdown(socket.SHUT_WR)
        assert [status for status, _ in answers(client)] == [200, 200, 200]


def test_many_requests_before_the_end_of_the_stream_are_all_answered(signer: Served) -> None:
    with signer.connect() as client:
        client.sendall(post() * 400 + post()[:-1])
        client.shutdown(socket.SHUT_WR)
        assert [status for status, _ in answers(client)] == [200] * 400


def test_connection_close_is_honoured(signer: Served) -> None:
    with signer.connect() as client:
        client.sendall(post(more=b"Connection: close\r\n") + post())
        assert [status for status, _ in answers(client)] == [200]


REFUSED = [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 501),  # TLS
    (b"GARBAGE\r\n\r\n", 501),
    (b"GET /v1/sys/health HTTP/2.0\r\n\r\n", 400),
    (b"GET /v1/sys/health\r\n\r\n", 400),  # HTTP/0.9
    (b"GET /v1/sys/health HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", 400),
    (b"CONNECT signer:1 HTTP/1.1\r\n\r\n", 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n folded: yes\r\n\r\n", 400),
    # Two lengths are how requests are smuggled past a proxy.
    (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\nabc", 400),
    (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: a-miracle\r\n\r\n", 417),
]


@pytest.mark.parametrize(("request_", "status"), REFUSED)
def test_what_is_no_request_is_refused_and_ends_the_connection(
    signer: Served, desk: FakeDesk, request_: bytes, status: int
) -> None:
    with signer.connect() as client:
        client.sendall(post() + request_)
        first, second = answers(client)
        assert first[0] == 200
        assert second[0] == status
        assert json.loads(second[1])["errors"][0]
    assert desk.refused == ["malformed-request"]


TOO_LARGE = [
    post(body=b"x" * 65536)[:200],  # says so, and never sends it
    b"GET /" + b"a" * 70000,
    b"GET / HTTP/1.1\r\nX: " + b"a" * 70000,
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000,
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1000\r\n%s\r\n" % (b"a" * 4096) * 20,
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * 100000,
]


@pytest.mark.parametrize("request_", TOO_LARGE, ids=range(len(TOO_LARGE)))
def test_a_request_over_64_kib_is_refused_before_it_is_kept(signer: Served, request_: bytes) -> None:
    with signer.connect() as client:
        with contextlib.suppress(OSError):  # closed while we are sending
            client.sendall(request_)
        ((status, _),) = answers(client)
        assert status == 413


def test_the_largest_request_is_taken(signer: Served, desk: FakeDesk) -> None:
    body = b'{"input":"%s"}' % (b"A" * 65280)
    with signer.connect() as client:
        client.sendall(post() * 3 + post(body=body))
        assert [status for status, _ in answers(client, 4)] == [200] * 4
    assert len(desk.asked[-1].payload) == 65280 * 3 // 4


@pytest.mark.parametrize("start", [b"P", b"LIS", post()[:-1], post() + b"G"])
def test_a_request_that_is_not_whole_in_time_is_cut_off(
    signer: Served, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr(connection_module, "_REQUEST_S", 0.3)
    with signer.connect() as client:
        client.sendall(start)
        begun = time.monotonic()
        found = answers(client)
        assert found[-1][0] == 408
        assert 0.2 < time.monotonic() - begun < 2


def test_dripping_bytes_wins_no_time(signer: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_REQUEST_S", 0.3)
    with signer.connect() as client:
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in post():
                client.sendall(bytes([byte]))
                time.sleep(0.02)
        assert time.monotonic() - begun < 1


def test_an_idle_connection_is_left_alone(signer: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_REQUEST_S", 0.1)
    with signer.connect() as client:
        for _ in range(2):
            time.sleep(0.3)
            client.sendall(post())
            assert answers(client, 1)[0][0] == 200


def test_a_client_that_does_not_read_is_cut_off_and_costs_little(
    signer: Served, desk: FakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "_STUCK_S", 0.5)
    with signer.connect() as client:
        client.settimeout(0.2)
        with contextlib.suppress(OSError):
            for _ in range(100_000):
                client.sendall(post())
        # About what the socket's buffers hold, and not all that was sent.
        assert len(desk.asked) < 10_000
        wait_until_gone(signer)


def test_a_client_that_went_away_leaves_nothing(tmp_path: Path, slow_desk: FakeDesk) -> None:
    with serving(routes(slow_desk), tmp_path / "s") as signer:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            with signer.connect() as client:
                client.sendall(post() * 2)
        wait_until_gone(signer)
        assert len(os.listdir("/proc/self/fd")) <= before


def test_finish_lets_what_is_under_way_be_answered(tmp_path: Path, slow_desk: FakeDesk) -> None:
    with serving(routes(slow_desk), tmp_path / "s") as signer:
        with signer.connect() as busy, signer.connect() as idle:
            busy.sendall(post())
            while len(slow_desk.asked) < 1 or len(signer.connections) < 2:
                time.sleep(0.001)
            for connection in list(signer.connections):
                signer.loop.call_soon_threadsafe(connection.finish)
            assert answers(idle) == []
            assert [status for status, _ in answers(busy)] == [200]
        wait_until_gone(signer)


def wait_until_gone(signer: Served) -> None:
    deadline = time.monotonic() + 5
    while signer.connections:
        assert time.monotonic() < deadline, "a connection is still there"
        time.sleep(0.01)
