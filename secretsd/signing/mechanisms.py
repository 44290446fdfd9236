"""What is asked of the token for each request, and what is made of its answer. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Protocol

from secretsd.signing import verifying
from secretsd.signing.encodings import low_s, marshaled, order_bytes
from secretsd.signing.errors import SigningError, version_retired
from secretsd.signing.model import (
    SALT_AUTO,
    SALT_HASH,
    SEALED_BYTES,
    Hash,
    KeyType,
    KeyVersion,
    Marshaling,
    Operation,
    Padding,
    Request,
    TokenCall,
    TokenMechanism,
)

# DER of DigestInfo up to the digest (RFC 8017, 9.2, note 1).
_DIGEST_INFO = {
    Hash.SHA2_256: bytes.fromhex("3031300d060960864801650304020105000420"),
    Hash.SHA2_384: bytes.fromhex("3041300d060960864801650304020205000430"),
    Hash.SHA2_512: bytes.fromhex("3051300d060960864801650304020305000440"),
}
_HASHLIB = {Hash.SHA2_256: hashlib.sha256, Hash.SHA2_384: hashlib.sha384, Hash.SHA2_512: hashlib.sha512}
# What a retired version may no longer do; what was made with it can still be checked and read.
_ENDED = frozenset({Operation.SIGN, Operation.HMAC, Operation.ENCRYPT, Operation.WRAP})
_WITHOUT_HASH = frozenset({"ed25519", "aes", "wrap"})
_GOOD, _NOT_GOOD = b"\1", b"\0"


class Lane(Protocol):
    """What is needed of signing.pkcs11.lane.Lane."""

    def sign(self, call: TokenCall, deadline_ns: int = 0) -> bytes: ...
    def verify_mac(self, call: TokenCall, mac: bytes, deadline_ns: int = 0) -> bool: ...
    def encrypt(
        self, key: KeyVersion, plaintext: bytes, associated_data: bytes, deadline_ns: int = 0
    ) -> bytes: ...
    def decrypt(
        self, key: KeyVersion, blob: bytes, associated_data: bytes, deadline_ns: int = 0
    ) -> bytes: ...


Work = Callable[[Lane], bytes]


def work(request: Request, key: KeyVersion) -> Work:
    """What a lane has to do; it returns the payload of the Answer.

    Raises: SigningError where the key can never do it, or the request does not fit.
    """
    if key.is_retired and request.operation in _ENDED:
        raise version_retired(key.key, key.number)
    if request.check_is_hmac and key.type is not KeyType.HMAC:
        raise _unsupported(f"a key of type {key.type} has no HMAC to verify")
    maker = _MAKERS.get((request.operation, _FAMILIES[key.type]))
    if maker is None:
        raise _unsupported(f"a key of type {key.type} cannot {request.operation}")
    return maker(request, key)


def needs(request: Request, type_: KeyType) -> frozenset[str]:
    """The words of a key's `mechanisms` that the request requires."""
    family = _FAMILIES[type_]
    if request.operation is Operation.PUBLIC_KEY or family in _WITHOUT_HASH:
        return frozenset()
    words = {_hash(request, type_).value}
    if family == "rsa":
        words.add(request.padding.name.lower())
    if request.prehashed:
        words.add("prehashed")
    return frozenset(words)


def mechanism_name(request: Request, key: KeyVersion) -> str:
    """The mechanism in one word, for the audit trail."""
    family = _FAMILIES[key.type]
    if request.operation is Operation.PUBLIC_KEY or family in _WITHOUT_HASH:
        return key.type
    hash_ = _hash(request, key.type)
    words = [hash_.value]
    if family == "rsa":
        words.insert(0, request.padding.name.lower())
    if request.prehashed:
        words.append("prehashed")
    return "-".join(words)


def _hash(request: Request, type_: KeyType) -> Hash:
    return request.hash or type_.own_hash


def _digest(request: Request, hash_: Hash) -> bytes:
    """The message's digest; one that the client made must have the right length: tokens do not look."""
    if not request.prehashed:
        return _HASHLIB[hash_](request.payload).digest()
    if len(request.payload) != hash_.digest_bytes:
        raise SigningError(
            "bad-digest-length",
            f"a {hash_} digest has {hash_.digest_bytes} bytes",
            advice="send the digest itself, not its hexadecimal digits; or name the hash that made it",
        )
    return request.payload


# ECDSA ------------------------------------------------------------------------------------------------------


def _sign_ecdsa(request: Request, key: KeyVersion) -> Work:
    digest = _digest(request, _hash(request, key.type))
    _check_marshaling(request, key)
    # A digest that is longer than the order counts up to the order's length (FIPS 186-5, 6.4.1): cut here,
    # since tokens differ in what they do with the rest.
    call = TokenCall(key, TokenMechanism.ECDSA, digest[: order_bytes(key.type)])

    def do(lane: Lane) -> bytes:
        raw = low_s(key.type, lane.sign(call, request.deadline_ns))
        return marshaled(raw, request.marshaling, digest, key.public_key)

    return do


def _verify_ecdsa(request: Request, key: KeyVersion) -> Work:
    hash_ = _hash(request, key.type)
    digest = _digest(request, hash_)
    _check_marshaling(request, key)
    return _judged(verifying.verify_ecdsa, key, request.check, request.marshaling, digest, hash_)


def _check_marshaling(request: Request, key: KeyVersion) -> None:
    if request.marshaling is Marshaling.ETH:
        if key.type is not KeyType.SECP256K1:
            raise _unsupported("only ecdsa-secp256k1 keys have the marshaling eth")
        if _hash(request, key.type) is not Hash.SHA2_256:
            # Whatever made the digest: 32 bytes are what a recovery needs.
            raise _unsupported("the marshaling eth needs a digest of 32 bytes")


# Ed25519 ----------------------------------------------------------------------------------------------------


def _sign_ed25519(request: Request, key: KeyVersion) -> Work:
    _refuse_prehashed(request, key)
    call = TokenCall(key, TokenMechanism.EDDSA, request.payload)
    return lambda lane: lane.sign(call, request.deadline_ns)


def _verify_ed25519(request: Request, key: KeyVersion) -> Work:
    _refuse_prehashed(request, key)
    return _judged(verifying.verify_ed25519, key, request.check, request.payload)


def _refuse_prehashed(request: Request, key: KeyVersion) -> None:
    if request.prehashed:
        raise _unsupported(f"a key of type {key.type} takes the message, not a digest of it")


# RSA --------------------------------------------------------------------------------------------------------


def _sign_rsa(request: Request, key: KeyVersion) -> Work:
    hash_ = _hash(request, key.type)
    digest = _digest(request, hash_)
    if request.padding is Padding.PKCS1V15:
        call = TokenCall(key, TokenMechanism.RSA_PKCS1, _DIGEST_INFO[hash_] + digest)
    else:
        call = TokenCall(key, TokenMechanism.RSA_PSS, digest, hash_, _salt_bytes(request, key.type, hash_))
    return lambda lane: lane.sign(call, request.deadline_ns)


def _verify_rsa(request: Request, key: KeyVersion) -> Work:
    hash_ = _hash(request, key.type)
    digest = _digest(request, hash_)
    salt_bytes = SALT_AUTO
    if request.padding is Padding.PSS and request.salt_bytes != SALT_AUTO:
        salt_bytes = _salt_bytes(request, key.type, hash_)
    return _judged(verifying.verify_rsa, key, request.check, request.padding, digest, hash_, salt_bytes)


def _salt_bytes(request: Request, type_: KeyType, hash_: Hash) -> int:
    most = type_.rsa_bits // 8 - hash_.digest_bytes - 2  # RFC 8017, 9.1.1
    if request.salt_bytes == SALT_AUTO:
        return most
    if request.salt_bytes == SALT_HASH:
        return hash_.digest_bytes
    if not 0 <= request.salt_bytes <= most:
        raise SigningError(
            "bad-parameter",
            f"the salt may have 0 to {most} bytes with this key and hash",
            advice='send "auto", "hash" or such a number as salt_length',
        )
    return request.salt_bytes


# Secret keys ------------------------------------------------------------------------------------------------


def _mac(request: Request, key: KeyVersion) -> Work:
    call = _mac_call(request, key)
    return lambda lane: lane.sign(call, request.deadline_ns)


def _verify_mac(request: Request, key: KeyVersion) -> Work:
    call = _mac_call(request, key)
    if len(request.check) != _hash(request, key.type).digest_bytes:
        return lambda _: _NOT_GOOD
    return lambda lane: _GOOD if lane.verify_mac(call, request.check, request.deadline_ns) else _NOT_GOOD


def _mac_call(request: Request, key: KeyVersion) -> TokenCall:
    _refuse_prehashed(request, key)
    return TokenCall(key, TokenMechanism.HMAC, request.payload, _hash(request, key.type))


def _encrypt(request: Request, key: KeyVersion) -> Work:
    return lambda lane: lane.encrypt(key, request.payload, request.associated_data, request.deadline_ns)


def _decrypt(request: Request, key: KeyVersion) -> Work:
    if len(request.payload) < SEALED_BYTES:
        raise SigningError(
            "bad-ciphertext",
            f"a ciphertext has at least {SEALED_BYTES} bytes",
            advice="send what encrypt returned, whole",
        )
    return lambda lane: lane.decrypt(key, request.payload, request.associated_data, request.deadline_ns)


# Public keys ------------------------------------------------------------------------------------------------


def _public_key(_: Request, key: KeyVersion) -> Work:
    public_key = key.public_key or b""
    return lambda _: public_key


def _judged(verify: Callable[..., bool], *arguments: object) -> Work:
    judge = partial(verify, *arguments)
    return lambda _: _GOOD if judge() else _NOT_GOOD


def _unsupported(what: str) -> SigningError:
    return SigningError("unsupported", what, advice="see docs/transit.md for what each type of key can do")


_FAMILIES = {
    KeyType.P256: "ecdsa",
    KeyType.P384: "ecdsa",
    KeyType.SECP256K1: "ecdsa",
    KeyType.ED25519: "ed25519",
    KeyType.RSA_2048: "rsa",
    KeyType.RSA_3072: "rsa",
    KeyType.RSA_4096: "rsa",
    KeyType.HMAC: "hmac",
    KeyType.AES_GCM: "aes",
    KeyType.AES_WRAP: "wrap",
}
_MAKERS: dict[tuple[Operation, str], Callable[[Request, KeyVersion], Work]] = {
    (Operation.SIGN, "ecdsa"): _sign_ecdsa,
    (Operation.SIGN, "ed25519"): _sign_ed25519,
    (Operation.SIGN, "rsa"): _sign_rsa,
    (Operation.VERIFY, "ecdsa"): _verify_ecdsa,
    (Operation.VERIFY, "ed25519"): _verify_ed25519,
    (Operation.VERIFY, "rsa"): _verify_rsa,
    (Operation.VERIFY, "hmac"): _verify_mac,
    (Operation.HMAC, "hmac"): _mac,
    (Operation.ENCRYPT, "aes"): _encrypt,
    (Operation.DECRYPT, "aes"): _decrypt,
    (Operation.PUBLIC_KEY, "ecdsa"): _public_key,
    (Operation.PUBLIC_KEY, "ed25519"): _public_key,
    (Operation.PUBLIC_KEY, "rsa"): _public_key,
}
