"""secretsd.client against a peer that does what a signer never should, and against the documented vectors."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from secretsd import client
from secretsd.client import Sealed, Signer, SigningError
from secretsd.signing import errors, frame
from secretsd.signing.model import Answer
from tests.signing.native_vectors import Vector, vectors

Behaviour = Callable[[socket.socket, bytes], None]
MARKER = b"marker-91be-never-in-a-repr"


@contextlib.contextmanager
def peer(path: Path, behave: Behaviour) -> Iterator[None]:
    """Listens at `path`; `behave(connection, request)` is called for each message."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen(16)
    connections: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while request := connection.recv(1 << 17):
                behave(connection, request)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connections.append(listener.accept()[0])
                threading.Thread(target=serve, args=(connections[-1],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield
    finally:
        for each in (listener, *connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        path.unlink()


def number_of(request: bytes) -> int:
    return frame.decode_request(request)[0]


def echo(connection: socket.socket, request: bytes) -> None:
    """Answers with the message and the sender's process."""
    number, asked = frame.decode_request(request)
    connection.send(frame.encode_answer(number, Answer(asked.payload, 7)))


CALLS: dict[str, Callable[[Signer], Any]] = {
    "sign, a message, everything by default": lambda s: s.sign("hot-wallet", b"buy 1 BTC"),
    "sign, a SHA-256 digest, r || s || v, version 2, a deadline": lambda s: s.sign(
        "hot-wallet", bytes(range(32)), prehashed=True, hash_name="sha2-256", scheme="eth", version=2
    ),
    "sign, RSA PKCS#1 v1.5 with SHA-512": lambda s: s.sign(
        "release", b"1.0", hash_name="sha2-512", scheme="pkcs1v15"
    ),
    "sign, RSA PSS with a salt as long as the digest": lambda s: s.sign(
        "release", b"1.0", scheme="pss", salt_bytes=client.SALT_HASH
    ),
    "verify, a signature that is good": lambda s: s.verify(
        "hot-wallet", b"buy 1 BTC", bytes.fromhex("300602010102012a"), version=3
    ),
    "verify, an HMAC that is not good": lambda s: s.verify("orders", b"hello", b"\x09" * 32, is_hmac=True),
    "hmac": lambda s: s.hmac("orders", b"hello"),
    "public-key": lambda s: s.public_key("orders-ed25519"),
    "encrypt, with associated data": lambda s: s.encrypt("vault", b"hello", associated_data=b"row 7"),
    "decrypt": lambda s: s.decrypt(
        "vault", Sealed(b"\x0c" * 12 + b"\x0d" * 5 + b"\x0e" * 16, 4), associated_data=b"row 7"
    ),
    "a refusal": lambda s: s.sign("cold-wallet", b"x"),
    "a refusal that may be over in a second": lambda s: s.hmac("orders", b"hello"),
}
VERSIONED = {"encrypt, with associated data"}
_NUMBER, _DEADLINE = slice(20, 28), slice(28, 36)


@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector.told)
def test_a_documented_exchange_is_what_the_client_says_and_hears(vector: Vector, tmp_path: Path) -> None:
    sent: list[bytes] = []

    def answer(connection: socket.socket, request: bytes) -> None:
        sent.append(request)
        connection.send(vector.answer[:8] + request[_NUMBER] + vector.answer[16:])

    payload = vector.answer[16:]
    with peer(tmp_path / "s", answer), Signer(str(tmp_path / "s")) as signer:
        if vector.answer[1]:
            with pytest.raises(SigningError) as refused:
                CALLS[vector.told](signer)
            code, _, sentence = payload.decode().partition("\0")
            assert (refused.value.code, refused.value.message) == (code, sentence)
            assert refused.value.retryable is (vector.answer[2] == 1)
        else:
            version = int.from_bytes(vector.answer[4:8], "big")
            expected: object = Sealed(payload, version) if vector.told in VERSIONED else payload
            if vector.told.startswith("verify"):
                expected = payload == b"\1"
            assert CALLS[vector.told](signer) == expected
    # The head differs only in the request id and the deadline, which are the client's own.
    without = [each[:20] + each[36:] for each in (sent[0], vector.request)]
    assert without[0] == without[1]
    left_ns = int.from_bytes(sent[0][_DEADLINE], "big") - time.monotonic_ns()
    assert 0 < left_ns < 2_000_000_000


def test_every_vector_is_called() -> None:
    assert set(CALLS) == {vector.told for vector in vectors()}


def test_an_answer_to_a_request_that_was_given_up_is_never_taken_for_the_next(tmp_path: Path) -> None:
    late: list[bytes] = []

    def behave(connection: socket.socket, request: bytes) -> None:
        answer = frame.encode_answer(number_of(request), Answer(frame.decode_request(request)[1].payload, 1))
        if not late:
            late.append(answer)
            return
        connection.send(late[0])
        connection.send(answer)

    with peer(tmp_path / "s", behave), Signer(str(tmp_path / "s"), 0.2) as signer:
        with pytest.raises(SigningError) as expired:
            signer.hmac("k", b"first")
        assert (expired.value.code, expired.value.retryable) == ("deadline-expired", True)
        assert signer.hmac("k", b"second") == b"second"


def test_a_connection_that_breaks_before_the_answer_is_made_anew(tmp_path: Path) -> None:
    seen: list[int] = []

    def behave(connection: socket.socket, request: bytes) -> None:
        seen.append(number_of(request))
        if len(seen) < 2:
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()
            return
        echo(connection, request)

    with peer(tmp_path / "s", behave), Signer(str(tmp_path / "s")) as signer:
        assert signer.hmac("k", b"again") == b"again"
    assert len(seen) == 2
    assert len(set(seen)) == 1


def test_a_request_that_ends_the_signer_is_not_sent_to_one_after_the_other(tmp_path: Path) -> None:
    seen: list[bytes] = []

    def behave(connection: socket.socket, request: bytes) -> None:
        seen.append(request)
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()

    with peer(tmp_path / "s", behave), Signer(str(tmp_path / "s")) as signer:
        with pytest.raises(SigningError) as failed:
            signer.hmac("k", b"poison")
        assert (failed.value.code, failed.value.retryable, len(seen)) == ("unreachable", True, 2)


def test_a_connection_that_was_idle_while_the_signer_restarted_costs_no_second_sending(
    tmp_path: Path,
) -> None:
    path, seen = tmp_path / "s", []

    def behave(connection: socket.socket, request: bytes) -> None:
        seen.append(request)
        if len(seen) == 2:
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        else:
            echo(connection, request)

    with Signer(str(path)) as signer:
        with peer(path, behave):
            assert signer.hmac("k", b"1") == b"1"
        with peer(path, behave):
            assert signer.hmac("k", b"2") == b"2"
    assert len(seen) == 3


def test_a_signer_that_comes_back_within_the_timeout_is_found(tmp_path: Path) -> None:
    path = tmp_path / "s"
    signer = Signer(str(path), 5.0)
    with peer(path, echo):
        assert signer.hmac("k", b"1") == b"1"
    done: list[bytes] = []
    thread = threading.Thread(target=lambda: done.append(signer.hmac("k", b"2")))
    thread.start()
    time.sleep(0.2)
    with peer(path, echo):
        thread.join(10)
    assert done == [b"2"]


@pytest.mark.parametrize("is_silent", [True, False])
def test_no_signer_is_an_error_within_the_timeout(tmp_path: Path, *, is_silent: bool) -> None:
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        if is_silent:
            stack.enter_context(peer(tmp_path / "s", lambda *_: None))
        with pytest.raises(SigningError) as failed:
            Signer(str(tmp_path / "s"), 0.3).hmac("k", MARKER)
    assert failed.value.code == ("deadline-expired" if is_silent else "unreachable")
    assert failed.value.retryable
    assert 0.2 < time.monotonic() - began < 2
    assert MARKER.decode() not in f"{failed.value!r}"


@pytest.mark.parametrize("is_read", [None, False, True])
def test_who_is_turned_away_hears_why_at_once(tmp_path: Path, *, is_read: bool | None) -> None:
    """Before the request is sent, while it lies there unread, and after it was read."""
    attempts: list[socket.socket] = []
    turned_away = frame.encode_answer(0, errors.too_many_connections())
    signer = Signer(str(tmp_path / "s"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(16)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    attempts.append(listener.accept()[0])
                    if is_read is False:
                        select.select([attempts[-1]], [], [], 5)
                    elif is_read:
                        attempts[-1].recv(1 << 17)
                    attempts[-1].send(turned_away)
                    attempts[-1].close()

        if is_read is None:  # the signer hangs up between connect and send
            signer._connected(1)
        threading.Thread(target=serve, daemon=True).start()
        if is_read is None:
            select.select([signer._connected(1)], [], [], 5)
            time.sleep(0.1)
        with pytest.raises(SigningError) as refused:
            signer.hmac("k", b"x")
        listener.shutdown(socket.SHUT_RDWR)
    assert (refused.value.code, refused.value.retryable) == ("too-many-connections", True)
    assert len(attempts) == 1


@pytest.mark.parametrize("answer", [b"\1", b"\1" * 15])
def test_an_answer_that_is_none_ends_in_an_error_and_not_in_a_signature(
    tmp_path: Path, answer: bytes
) -> None:
    with (
        peer(tmp_path / "s", lambda connection, _: connection.send(answer) and None),
        pytest.raises(SigningError, match=r"unreachable|deadline-expired"),
    ):
        Signer(str(tmp_path / "s"), 0.2).hmac("k", b"x")


def test_threads_that_share_a_signer_each_get_their_own_answer(tmp_path: Path) -> None:
    wrong: list[object] = []

    def work(signer: Signer, name: int) -> None:
        for count in range(100):
            message = f"{name} {count}".encode()
            if signer.hmac("k", message) != message:
                wrong.append(message)

    with peer(tmp_path / "s", echo), Signer(str(tmp_path / "s")) as signer:
        threads = [threading.Thread(target=work, args=(signer, name)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_a_child_has_a_connection_of_its_own_and_no_lock_of_its_parents_threads(tmp_path: Path) -> None:
    connections: set[int] = set()

    def behave(connection: socket.socket, request: bytes) -> None:
        connections.add(connection.fileno())
        echo(connection, request)

    with peer(tmp_path / "s", behave), Signer(str(tmp_path / "s")) as signer:
        assert signer.hmac("k", b"parent") == b"parent"
        with signer._turn:  # as if another thread were waiting for its answer
            child = os.fork()
            if child == 0:
                is_good = False
                with contextlib.suppress(BaseException):
                    is_good = signer.hmac("k", b"child") == b"child"
                os._exit(0 if is_good else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert signer.hmac("k", b"still there") == b"still there"
    assert len(connections) == 2


def test_what_no_frame_can_hold_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    signer = Signer(str(tmp_path / "nobody-listens"))
    for call in (
        lambda: signer.sign("k", b"x", hash_name="md5"),
        lambda: signer.sign("k", b"x", scheme="raw"),
        lambda: signer.sign("k", b"x", version=-1),
        lambda: signer.sign("k", b"x", salt_bytes=1 << 15),
    ):
        with pytest.raises(ValueError, match=r"is none of|out of range"):
            call()
    for key, message in (("k", b"x" * frame.MAX_FRAME_BYTES), ("k" * 256, b"x")):
        with pytest.raises(SigningError) as refused:
            signer.sign(key, message)
        assert (refused.value.code, refused.value.retryable) == ("request-too-large", False)


def test_the_file_alone_is_enough(tmp_path: Path) -> None:
    copy = tmp_path / "secretsd_client.py"
    copy.write_text(Path(client.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import secretsd_client as c"
    code += "; print(c.Signer('/x'))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True
    )
    assert done.stdout == "Signer('/x', timeout_s=2.0)\n"
