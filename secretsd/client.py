"""Signatures from secretsd-signer, with nothing but the standard library: this file can be copied into a bot.

    signer = Signer()
    signature = signer.sign("hot-wallet", b"message")

What goes over the socket is said in docs/native-protocol.md.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import struct
import threading
import time
import weakref
from typing import NamedTuple, Self

DEFAULT_PATH = "/run/secretsd-signer/signer.seq"
MAX_FRAME_BYTES = 65536
SALT_AUTO = -1  # PSS: as long as fits for a signature, any when verifying
SALT_HASH = -2  # PSS: as long as the digest

_VERSION = 1
_HEAD = struct.Struct("!BBBBBBhIIIQQ")
_ANSWER = struct.Struct("!BBBBIQ")
_LONGEST_ANSWER = MAX_FRAME_BYTES + 4096
_SIGN, _VERIFY, _HMAC, _PUBLIC_KEY, _ENCRYPT, _DECRYPT = range(1, 7)
_PREHASHED, _CHECK_IS_HMAC = 1, 2
_RETRYABLE = 1
_HASHES = {"": 0, "sha2-256": 1, "sha2-384": 2, "sha2-512": 3}
_SCHEMES = {"asn1": 0, "jws": 1, "eth": 2, "pss": 0x80, "pkcs1v15": 0x81}

# The signer restarts, or its queue of connections is full: worth another try until the time is over.
_PASSING = (ConnectionError, FileNotFoundError, BlockingIOError)
_PAUSE_S = 0.01
_MOST_SENT = 2  # times that one request goes out: it may be what the signer falls over


class SigningError(Exception):
    """`code` is a word of docs/native-protocol.md, or "unreachable" where there is no signer to ask.

    `retryable`: the same request may succeed a little later.
    """

    def __init__(self, code: str, message: str, *, retryable: bool) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retryable = retryable


class Sealed(NamedTuple):
    """A ciphertext and the version of the key that opens it: keep both."""

    ciphertext: bytes
    version: int


class Signer:
    """One connection, made when it is needed, and anew after a restart of the signer and after a fork.

    Threads may share it and take turns; who wants signatures side by side gives each thread its own. Each
    method blocks for about `timeout_s` at most and raises SigningError. A request is sent once more where the
    connection broke before the answer came, and after "deadline-expired" the signer may still have signed.

    Of the arguments: `version` is the key's, 0 its newest. `hash_name` is sha2-256, sha2-384 or sha2-512,
    empty for the key's own. `scheme` is how an ECDSA signature is laid out (asn1; jws for r || s; eth for
    r || s || v), or RSA's padding (pss, pkcs1v15). With `prehashed` the message is a digest. An argument
    that no request can hold raises ValueError.
    """

    def __init__(self, path: str = DEFAULT_PATH, timeout_s: float = 2.0) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._numbers = itertools.count(1)
        self._connection: socket.socket | None = None
        self._turn = threading.Lock()
        _SIGNERS.add(self)

    def sign(
        self, key: str, message: bytes, *, prehashed: bool = False, hash_name: str = "", scheme: str = "asn1",
        salt_bytes: int = SALT_AUTO, version: int = 0,
    ) -> bytes:  # fmt: skip
        """The signature."""
        form = _Form(_PREHASHED * prehashed, hash_name, scheme, salt_bytes)
        return self._ask(_SIGN, key, message, version, form)[0]

    def verify(
        self, key: str, message: bytes, signature: bytes, *, is_hmac: bool = False, prehashed: bool = False,
        hash_name: str = "", scheme: str = "asn1", salt_bytes: int = SALT_AUTO, version: int = 0,
    ) -> bool:  # fmt: skip
        """Whether the signature is good; with `is_hmac`, whether the HMAC is."""
        form = _Form(_PREHASHED * prehashed | _CHECK_IS_HMAC * is_hmac, hash_name, scheme, salt_bytes)
        return self._ask(_VERIFY, key, message, version, form, check=signature)[0] == b"\1"

    def hmac(self, key: str, message: bytes, *, hash_name: str = "", version: int = 0) -> bytes:
        return self._ask(_HMAC, key, message, version, _Form(hash_name=hash_name))[0]

    def public_key(self, key: str, *, version: int = 0) -> bytes:
        """SubjectPublicKeyInfo in DER (RFC 5280)."""
        return self._ask(_PUBLIC_KEY, key, b"", version)[0]

    def encrypt(
        self, key: str, plaintext: bytes, *, associated_data: bytes = b"", version: int = 0
    ) -> Sealed:
        return Sealed(*self._ask(_ENCRYPT, key, plaintext, version, associated_data=associated_data))

    def decrypt(self, key: str, sealed: Sealed, *, associated_data: bytes = b"") -> bytes:
        return self._ask(_DECRYPT, key, sealed[0], sealed[1], associated_data=associated_data)[0]

    def close(self) -> None:
        """Ends the connection, after a request that is under way; the next one makes another."""
        with self._turn:
            self._hang_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Signer({self._path!r}, timeout_s={self._timeout_s})"

    def _ask(
        self, operation: int, key: str, payload: bytes, version: int, form: _Form | None = None, *,
        check: bytes = b"", associated_data: bytes = b"",
    ) -> tuple[bytes, int]:  # fmt: skip
        """The answer's payload, and the version of the key that made it."""
        flags, hash_, scheme, salt_bytes = (form or _Form()).numbers()
        name, number = key.encode(), next(self._numbers)
        deadline_ns = time.monotonic_ns() + int(self._timeout_s * 1e9)
        lengths = (len(name), salt_bytes, version, len(associated_data), len(check))
        head = (_VERSION, operation, flags, hash_, scheme, *lengths, number, deadline_ns)
        body = (name, associated_data, check, payload)
        if len(name) > 255 or _HEAD.size + sum(map(len, body)) > MAX_FRAME_BYTES:
            raise SigningError("request-too-large", "a request has at most 64 KiB", retryable=False)
        try:
            request = b"".join((_HEAD.pack(*head), *body))
        except struct.error:
            raise ValueError("a version or a length of the salt is out of range") from None
        if not self._turn.acquire(timeout=self._timeout_s):
            raise _expired()
        try:
            return self._until(deadline_ns, request, number)
        finally:
            self._turn.release()

    def _until(self, deadline_ns: int, request: bytes, number: int) -> tuple[bytes, int]:
        times_sent = 0
        while True:
            try:
                times_sent += self._was_sent(request, deadline_ns)
                return self._answer(number, deadline_ns)
            except TimeoutError:
                raise _expired() from None
            except OSError as error:
                self._hang_up()
                is_passing = isinstance(error, _PASSING)
                is_over = times_sent == _MOST_SENT or _left_s(deadline_ns, or_raise=False) < _PAUSE_S
                if not is_passing or is_over:
                    message = f"no signer answers on {self._path}: {error.strerror or 'it hung up'}"
                    raise SigningError("unreachable", message, retryable=is_passing) from None
            time.sleep(_PAUSE_S)

    def _was_sent(self, request: bytes, deadline_ns: int) -> bool:
        """False where the signer has hung up already; what it said before is still there to read."""
        connection = self._connected(_left_s(deadline_ns))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.send(request, socket.MSG_NOSIGNAL)
            return True
        return False

    def _answer(self, number: int, deadline_ns: int) -> tuple[bytes, int]:
        connection = self._connected(_left_s(deadline_ns))
        while True:
            connection.settimeout(_left_s(deadline_ns))
            answer = _received(connection)
            if len(answer) < _ANSWER.size:
                raise ConnectionResetError
            _, error, flags, _, version, answered = _ANSWER.unpack_from(answer)
            # Another number is of a request that was given up; 0 of one that could not be read, or none.
            if error and answered in (number, 0):
                raise _told(answer[_ANSWER.size :], is_retryable=bool(flags & _RETRYABLE))
            if answered == number:
                return answer[_ANSWER.size :], version

    def _connected(self, timeout_s: float) -> socket.socket:
        if self._connection is None:
            self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._connection.settimeout(timeout_s)
            self._connection.connect(self._path)
        self._connection.settimeout(timeout_s)
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _forget_the_parent(self) -> None:
        """The parent's connection would say that the parent asks, and its lock may be held for ever."""
        self._hang_up()
        self._turn = threading.Lock()


class _Form(NamedTuple):
    flags: int = 0
    hash_name: str = ""
    scheme: str = "asn1"
    salt_bytes: int = SALT_AUTO

    def numbers(self) -> tuple[int, int, int, int]:
        """Raises: ValueError."""
        for word, known in ((self.hash_name, _HASHES), (self.scheme, _SCHEMES)):
            if word not in known:
                raise ValueError(f"{word!r} is none of {', '.join(filter(None, known))}")
        return self.flags, _HASHES[self.hash_name], _SCHEMES[self.scheme], self.salt_bytes


def _received(connection: socket.socket) -> bytes:
    """One message, b"" at the end."""
    try:
        return connection.recv(_LONGEST_ANSWER)
    except ConnectionResetError:
        # The kernel tells the reset before what the signer had said: why it turned this process away.
        return connection.recv(_LONGEST_ANSWER)


def _left_s(deadline_ns: int, *, or_raise: bool = True) -> float:
    left_s = (deadline_ns - time.monotonic_ns()) / 1e9
    if left_s <= 0 and or_raise:
        raise TimeoutError
    return left_s


def _expired() -> SigningError:
    return SigningError("deadline-expired", "the signer did not answer in time", retryable=True)


def _told(payload: bytes, *, is_retryable: bool) -> SigningError:
    code, _, sentence = payload.partition(b"\0")
    return SigningError(code.decode(), sentence.decode(), retryable=is_retryable)


_SIGNERS: weakref.WeakSet[Signer] = weakref.WeakSet()


def _forget_the_parents() -> None:
    for signer in list(_SIGNERS):
        signer._forget_the_parent()  # noqa: SLF001 - the other half of this class


os.register_at_fork(after_in_child=_forget_the_parents)
