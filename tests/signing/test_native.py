"""The native socket of the real signer: what clients do to it, and who sent a frame."""

from __future__ import annotations

import array
import contextlib
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from secretsd import client
from secretsd.signing import frame
from tests.signing.daemon import Daemon

KEYS = {
    "orders": {"type": "hmac", "operations": ["hmac", "verify"], "audit": "batched"},
    "hot": {"type": "ecdsa-p256", "operations": ["sign", "verify", "public-key"]},
    "vault": {"type": "aes256-gcm96", "operations": ["encrypt", "decrypt"]},
    "release": {"type": "rsa-2048", "operations": ["sign", "verify", "public-key"]},
}
NOBODY = 65534
SCM_CREDENTIALS = 2  # unix(7); Python has no name for it
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="acts as another user: needs root")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("native")
    with Daemon(directory, KEYS) as running:
        running.generate(*KEYS)
        yield running


def connect(daemon: Daemon) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(10)
    connection.connect(str(daemon.native))
    return connection


def request(
    number: int, *, operation: int = 3, key: bytes = b"orders", payload: bytes = b"x", salt: int = -1
) -> bytes:
    head = client._HEAD.pack(1, operation, 0, 0, 0, len(key), salt, 0, 0, 0, number, 0)
    return head + key + payload


def answer(connection: socket.socket) -> tuple[int, str]:
    """The request id and the error's word, empty for an answer that is none."""
    data = connection.recv(1 << 17)
    assert len(data) >= frame.ANSWER_BYTES, "the signer hung up"
    word = data[frame.ANSWER_BYTES :].partition(b"\0")[0].decode() if data[1] else ""
    return int.from_bytes(data[8:16], "big"), word


def in_child(work: Callable[[], str], *, uid: int | None = None) -> str:
    """What `work` returns in a child process, which may be another user's."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        said = "it raised"
        with contextlib.suppress(BaseException):
            if uid is not None:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            said = work()
        os.write(theirs, said.encode())
        os._exit(0)
    os.close(theirs)
    with open(ours) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def test_every_operation_through_the_client(daemon: Daemon) -> None:
    with daemon.signer() as signer:
        signature = signer.sign("hot", b"message")
        public = load_der_public_key(signer.public_key("hot"))
        assert isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(signature, b"message", ec.ECDSA(SHA256()))
        assert signer.verify("hot", b"message", signature)
        assert not signer.verify("hot", b"massage", signature)
        assert len(signer.sign("hot", b"message", scheme="jws")) == 64
        assert signer.verify("orders", b"x", signer.hmac("orders", b"x"), is_hmac=True)
        sealed = signer.encrypt("vault", b"plain", associated_data=b"row")
        assert signer.decrypt("vault", sealed, associated_data=b"row") == b"plain"


def test_answers_are_matched_by_id_in_whatever_order_they_come(daemon: Daemon) -> None:
    with connect(daemon) as connection:
        numbers = range(1, 33)
        for number in numbers:
            slow = number % 4 == 0
            connection.send(
                request(number, operation=1 if slow else 3, key=b"release" if slow else b"orders")
            )
        seen = [answer(connection) for _ in numbers]
    assert sorted(seen) == [(number, "") for number in numbers]


def test_a_frame_that_is_too_long_is_refused_and_the_connection_goes_on(daemon: Daemon) -> None:
    with connect(daemon) as connection:
        for extra in (1, 1000):
            connection.send(request(7).ljust(frame.MAX_FRAME_BYTES + extra, b"x"))
            assert answer(connection) == (0, "malformed-request")
        connection.send(request(8).ljust(frame.MAX_FRAME_BYTES, b"x"))
        assert answer(connection) == (8, "message-too-large")
        connection.send(request(9))
        assert answer(connection) == (9, "")


def test_rubbish_is_refused_and_the_connection_goes_on(daemon: Daemon) -> None:
    with connect(daemon) as connection:
        for rubbish in (b"x", b"\xff" * 36, request(5)[:36], b"GET / HTTP/1.1\r\n\r\n" * 9):
            connection.send(rubbish)
            assert answer(connection)[1] == "malformed-request"
        for salt in (-32768, -3, 32767):
            connection.send(request(6, operation=1, key=b"release", salt=salt))
            assert answer(connection) == (6, "bad-parameter")
        connection.send(request(9))
        assert answer(connection) == (9, "")


def test_passed_descriptors_are_dropped(daemon: Daemon) -> None:
    with connect(daemon) as connection:
        connection.send(request(1))
        assert answer(connection) == (1, "")
        before = daemon.open_descriptors()
        for number in range(2, 102):
            rights = array.array("i", [0] * 20)
            connection.sendmsg([request(number)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            assert answer(connection) == (number, "")
        assert daemon.open_descriptors() == before
        with connect(daemon) as another:
            another.send(request(1))
            assert answer(another) == (1, "")
            assert daemon.open_descriptors() > before, "the count would not show one that stays open"


def test_a_client_that_reads_nothing_is_read_no_further_and_cut_off(daemon: Daemon) -> None:
    with connect(daemon) as connection, daemon.signer() as other:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 50_000:
                connection.send(request(sent + 1))
                sent += 1
        assert sent < 50_000, "the signer took all of it"
        # Others do not notice.
        assert len(other.hmac("orders", b"x")) == 32
        _until(lambda: _is_hung_up(connection), 20)
        assert len(other.hmac("orders", b"x")) == 32


def _is_hung_up(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def test_a_frame_of_a_forked_child_is_judged_by_its_own_user(daemon: Daemon) -> None:
    with connect(daemon) as connection:

        def work() -> str:
            connection.send(request(1))
            return answer(connection)[1] or "done"

        # The same user may: the key's allow names the user.
        assert in_child(work) == "done"


@needs_root
def test_a_connection_handed_to_another_user_lends_no_rights(daemon: Daemon) -> None:
    with connect(daemon) as connection:
        connection.send(request(1))
        assert answer(connection) == (1, "")

        def work() -> str:
            connection.send(request(2))
            return answer(connection)[1] or "done"

        assert in_child(work, uid=NOBODY) == "no-right"
        connection.send(request(3))
        assert answer(connection) == (3, "")


@needs_root
def test_a_process_that_names_many_users_is_remembered_as_few(daemon: Daemon) -> None:
    """As root it may write any user into the credentials of a frame, in a user namespace each of its own."""
    with connect(daemon) as connection:
        for number in range(1, 40):
            named = struct.pack("iII", os.getpid(), number, number)
            connection.sendmsg([request(number)], [(socket.SOL_SOCKET, SCM_CREDENTIALS, named)])
            assert answer(connection) == (number, "")

        def work() -> str:
            connection.send(request(40))
            return answer(connection)[1] or "done"

        assert in_child(work) == "done"


@needs_root
def test_the_highest_user_of_all_is_on_record_as_that_one(daemon: Daemon) -> None:
    highest = 2**32 - 6
    with connect(daemon) as connection:

        def work() -> str:
            connection.send(request(1))
            return answer(connection)[1] or "done"

        assert in_child(work, uid=highest) == "no-right"
    records = daemon.directory / "state/audit/signer.jsonl"
    _until(lambda: f'"uid":{highest},' in records.read_text(), 5)


def test_a_process_that_exits_before_its_answer_leaves_nothing_behind(daemon: Daemon) -> None:
    before = _settled(daemon)

    def work() -> str:
        connection = connect(daemon)
        for number in range(1, 30):
            connection.send(request(number, operation=1, key=b"release"))
        return "sent"

    for _ in range(5):
        assert in_child(work) == "sent"
    assert _settled(daemon) == before
    with daemon.signer() as signer:
        assert len(signer.hmac("orders", b"x")) == 32


def _settled(daemon: Daemon) -> int:
    """How many descriptors are open, once that has not changed for half a second."""
    last, since_s = -1, time.monotonic()
    while time.monotonic() - since_s < 0.5:
        now = daemon.open_descriptors()
        if now != last:
            last, since_s = now, time.monotonic()
        time.sleep(0.05)
    return last


def test_a_reload_drops_the_rights_of_open_connections(tmp_path: Path) -> None:
    with Daemon(tmp_path, KEYS) as daemon:
        daemon.generate("orders")
        with daemon.signer() as signer:
            assert len(signer.hmac("orders", b"x")) == 32
            other = {**KEYS, "orders": {**KEYS["orders"], "allow": [{"user": "nobody"}]}}
            daemon.configure(other)
            daemon.process.send_signal(signal.SIGHUP)
            _until(lambda: _word(signer) == "no-right")
            daemon.configure(KEYS)
            daemon.process.send_signal(signal.SIGHUP)
            _until(lambda: _word(signer) == "")


def test_a_client_finds_the_signer_again_after_a_restart(tmp_path: Path) -> None:
    with Daemon(tmp_path, KEYS) as daemon:
        daemon.generate("orders")
        with daemon.signer() as signer:
            before = signer.hmac("orders", b"x")
            daemon.stop()
            with pytest.raises(client.SigningError, match="unreachable"):
                daemon.signer(0.1).hmac("orders", b"x")
            daemon.start()
            assert signer.hmac("orders", b"x") == before


def _word(signer: client.Signer) -> str:
    try:
        signer.hmac("orders", b"x")
    except client.SigningError as error:
        return error.code
    return ""


def _until(is_so: Callable[[], bool], limit_s: float = 10.0) -> None:
    until_s = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.02)
