"""A desk with keys in software: the HTTP side is tested without a token, and without anybody's rights."""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from secretsd.signing.desk import Caller
from secretsd.signing.errors import SigningError
from secretsd.signing.http.routes import Routes
from secretsd.signing.model import (
    SALT_AUTO,
    SALT_HASH,
    Answer,
    Hash,
    KeyType,
    KeyVersion,
    Marshaling,
    Operation,
    Padding,
    Peer,
    Request,
)

CALLER = Caller(Peer(1, 1000, frozenset({1000}), "trading-bot.service", 1), os.pidfd_open(os.getpid()))
_HASHES = {Hash.SHA2_256: hashes.SHA256(), Hash.SHA2_384: hashes.SHA384(), Hash.SHA2_512: hashes.SHA512()}
_MADE: dict[KeyType, Callable[[], Any]] = {
    KeyType.P256: lambda: ec.generate_private_key(ec.SECP256R1()),
    KeyType.P384: lambda: ec.generate_private_key(ec.SECP384R1()),
    KeyType.ED25519: ed25519.Ed25519PrivateKey.generate,
    KeyType.RSA_2048: lambda: rsa.generate_private_key(65537, 2048),
    KeyType.HMAC: lambda: os.urandom(32),
    KeyType.AES_GCM: lambda: os.urandom(32),
}
KEYS = {str(type_): type_ for type_ in _MADE}


@dataclass
class FakeDesk:
    """One key of each type, named like its type, in `version_count` versions."""

    version_count: int = 1
    delay_s: float | None = None  # None: answers before submit returns
    trouble: SigningError | None = None
    refused: list[str] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)
    fails: dict[str, SigningError] = field(default_factory=dict)  # of a key

    def __post_init__(self) -> None:
        self._material = {
            name: [_MADE[type_]() for _ in range(self.version_count)] for name, type_ in KEYS.items()
        }

    def keys_of(self, caller: object) -> tuple[str, ...]:
        return tuple(KEYS)

    def versions(self, key: str) -> tuple[KeyVersion, ...]:
        return tuple(
            KeyVersion(key, number, KEYS[key], self._public_key(key, number), is_retired=False)
            for number in range(1, self.version_count + 1)
        )

    def refuse(self, caller: object, error: SigningError) -> None:
        self.refused.append(error.code)

    def submit(
        self, caller: object, request: Request, answer: Callable[[Answer | SigningError], None]
    ) -> None:
        self.asked.append(request)
        try:
            outcome: Answer | SigningError = self._done(request)
        except SigningError as error:
            outcome = error
        if self.delay_s is None:
            answer(outcome)
        else:
            asyncio.get_running_loop().call_later(self.delay_s, answer, outcome)

    def _done(self, request: Request) -> Answer:
        if request.key in self.fails:
            raise self.fails[request.key]
        if request.key not in KEYS:
            raise SigningError("unknown-key", "there is no such key", advice="list the keys")
        number = request.version or self.version_count
        if number > self.version_count:
            raise SigningError("unknown-version", "the key has no such version", advice="use a lower one")
        material = self._material[request.key][number - 1]
        work = _WORK.get((request.operation, _family(KEYS[request.key])))
        if work is None:
            raise SigningError("unsupported", "a key of this type cannot do this", advice="use another key")
        if request.operation is Operation.PUBLIC_KEY:
            return Answer(self._public_key(request.key, number) or b"", number)
        return Answer(work(material, request), number)

    def _public_key(self, key: str, number: int) -> bytes | None:
        material = self._material[key][number - 1]
        if isinstance(material, bytes):
            return None
        public = material.public_key()
        return bytes(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def routes(desk: FakeDesk, administration: Any = None) -> Routes:
    return Routes(desk, administration)


def _family(type_: KeyType) -> str:
    return "ecdsa" if type_.is_ecdsa else "rsa" if type_.is_rsa else type_.value


def _hash(request: Request) -> Any:
    chosen = request.hash or Hash.SHA2_256
    if request.prehashed and len(request.payload) != chosen.digest_bytes:
        raise SigningError("bad-digest-length", "the digest is too short", advice="send the whole digest")
    return utils.Prehashed(_HASHES[chosen]) if request.prehashed else _HASHES[chosen]


def _ecdsa_sign(key: Any, request: Request) -> bytes:
    der: bytes = key.sign(request.payload, ec.ECDSA(_hash(request)))
    if request.marshaling is Marshaling.ASN1:
        return der
    r, s = utils.decode_dss_signature(der)
    size = (key.curve.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def _ecdsa_verify(key: Any, request: Request) -> bytes:
    check = request.check
    if request.marshaling is Marshaling.JWS:
        half = len(check) // 2
        check = utils.encode_dss_signature(
            int.from_bytes(check[:half], "big"), int.from_bytes(check[half:], "big")
        )
    return _verdict(lambda: key.public_key().verify(check, request.payload, ec.ECDSA(_hash(request))))


def _rsa_padding(request: Request) -> Any:
    if request.padding is Padding.PKCS1V15:
        return padding.PKCS1v15()
    algorithm = _HASHES[request.hash or Hash.SHA2_256]
    lengths: dict[int, Any] = {
        SALT_AUTO: padding.PSS.MAX_LENGTH if request.operation is Operation.SIGN else padding.PSS.AUTO,
        SALT_HASH: padding.PSS.DIGEST_LENGTH,
    }
    return padding.PSS(padding.MGF1(algorithm), lengths.get(request.salt_bytes, request.salt_bytes))


def _rsa_verify(key: Any, request: Request) -> bytes:
    return _verdict(
        lambda: key.public_key().verify(request.check, request.payload, _rsa_padding(request), _hash(request))
    )


def _verdict(verify: Callable[[], None]) -> bytes:
    try:
        verify()
    except InvalidSignature:
        return b"\0"
    return b"\1"


def _hmac(key: bytes, request: Request) -> bytes:
    return hmac.digest(key, request.payload, _HASHES[request.hash or Hash.SHA2_256].name)


def _hmac_verify(key: bytes, request: Request) -> bytes:
    if not request.check_is_hmac:
        raise SigningError("unsupported", "an HMAC key has no signatures", advice="send hmac")
    return b"\1" if hmac.compare_digest(_hmac(key, request), request.check) else b"\0"


def _encrypt(key: bytes, request: Request) -> bytes:
    iv = os.urandom(12)
    return iv + AESGCM(key).encrypt(iv, request.payload, request.associated_data)


def _decrypt(key: bytes, request: Request) -> bytes:
    try:
        return AESGCM(key).decrypt(request.payload[:12], request.payload[12:], request.associated_data)
    except (InvalidTag, ValueError):
        raise SigningError(
            "bad-ciphertext", "the ciphertext does not decrypt", advice="use its key"
        ) from None


def _nothing(_: Any, __: Request) -> bytes:
    return b""


_WORK: dict[tuple[Operation, str], Callable[[Any, Request], bytes]] = {
    (Operation.SIGN, "ecdsa"): _ecdsa_sign,
    (Operation.VERIFY, "ecdsa"): _ecdsa_verify,
    (Operation.SIGN, "rsa"): lambda key, request: key.sign(
        request.payload, _rsa_padding(request), _hash(request)
    ),
    (Operation.VERIFY, "rsa"): _rsa_verify,
    (Operation.SIGN, "ed25519"): lambda key, request: key.sign(request.payload),
    (Operation.VERIFY, "ed25519"): lambda key, request: _verdict(
        lambda: key.public_key().verify(request.check, request.payload)
    ),
    (Operation.HMAC, "hmac"): _hmac,
    (Operation.VERIFY, "hmac"): _hmac_verify,
    (Operation.ENCRYPT, "aes256-gcm96"): _encrypt,
    (Operation.DECRYPT, "aes256-gcm96"): _decrypt,
    **{(Operation.PUBLIC_KEY, family): _nothing for family in ("ecdsa", "rsa", "ed25519")},
}


class FakeAdministration:
    """Answers what it was asked for; a key named "forbidden" is one that the peer may not touch."""

    def __getattr__(self, verb: str) -> Callable[..., None]:
        def asked(peer: Peer, *rest: Any) -> None:
            *arguments, answer = rest
            if "forbidden" in arguments:
                answer(SigningError("not-an-admin", "only admins may", advice="ask root"))
            else:
                shown = [each.hex() if isinstance(each, bytes) else each for each in arguments]
                answer({"verb": verb, "uid": peer.uid, "arguments": shown})

        return asked
