"""The frozen values that pass from room to room of the signing service. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class KeyType(StrEnum):
    """What a key is, in the words of the configuration; Transit's own where it has one."""

    P256 = "ecdsa-p256"
    P384 = "ecdsa-p384"
    SECP256K1 = "ecdsa-secp256k1"
    ED25519 = "ed25519"
    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    HMAC = "hmac"
    AES_GCM = "aes256-gcm96"
    AES_WRAP = "aes256-wrap"

    @property
    def is_ecdsa(self) -> bool:
        return self in (KeyType.P256, KeyType.P384, KeyType.SECP256K1)

    @property
    def is_rsa(self) -> bool:
        return self in (KeyType.RSA_2048, KeyType.RSA_3072, KeyType.RSA_4096)

    @property
    def rsa_bits(self) -> int:
        """Of the modulus; 0 for what is no RSA key."""
        return int(self.removeprefix("rsa-")) if self.is_rsa else 0

    @property
    def own_hash(self) -> Hash:
        """The hash of a request that names none, and the only one of a key whose mechanisms name none."""
        return Hash.SHA2_384 if self is KeyType.P384 else Hash.SHA2_256

    @property
    def has_public_key(self) -> bool:
        return self.is_ecdsa or self.is_rsa or self is KeyType.ED25519


class Operation(StrEnum):
    """What a peer can ask of a key. The numbers of the native protocol are in frame.py."""

    SIGN = "sign"
    VERIFY = "verify"
    PUBLIC_KEY = "public-key"
    HMAC = "hmac"
    ENCRYPT = "encrypt"
    DECRYPT = "decrypt"
    WRAP = "wrap"
    UNWRAP = "unwrap"


class Hash(StrEnum):
    """A hash function, by Transit's name."""

    SHA2_256 = "sha2-256"
    SHA2_384 = "sha2-384"
    SHA2_512 = "sha2-512"

    @property
    def digest_bytes(self) -> int:
        return {"sha2-256": 32, "sha2-384": 48, "sha2-512": 64}[self]


class Marshaling(IntEnum):
    """How an ECDSA signature is laid out. The numbers are those of the native protocol."""

    ASN1 = 0  # DER: SEQUENCE { r INTEGER, s INTEGER } (RFC 3279)
    JWS = 1  # r || s, each as long as the curve's order (RFC 7515); Transit adds base64url
    ETH = 2  # r || s || v of 65 bytes, v the recovery id 0 or 1; secp256k1 only


class Padding(IntEnum):
    """RSA's signature scheme (RFC 8017). The numbers are those of the native protocol."""

    PSS = 0
    PKCS1V15 = 1


SEALED_BYTES = 12 + 16  # IV and tag, by which a ciphertext of AES-GCM is longer than its plaintext
SALT_AUTO = -1  # PSS: as long as fits for a signature, any when verifying
SALT_HASH = -2  # PSS: as long as the digest


@dataclass(frozen=True, slots=True)
class RateLimit:
    """So many uses at once, then as many again in each period."""

    count: int
    period_s: float


@dataclass(frozen=True, slots=True)
class Peer:
    """Who connected, as the kernel says. `unit` is None outside system.slice, or where it is not known."""

    pid: int
    uid: int
    gids: frozenset[int]
    unit: str | None
    start_ticks: int  # of the process, clock ticks after boot (proc(5)): with the pid it names one process


@dataclass(frozen=True, slots=True)
class Request:
    """One use of a key, whichever socket it came by.

    `payload` is the message, or with `prehashed` its digest; the plaintext of encrypt; the ciphertext of
    decrypt (12 bytes of IV, ciphertext, 16 bytes of tag). `check` is what verify compares: a signature in
    `marshaling`, or an HMAC. `hash` None is the key's own; `version` 0 the newest of the key.
    """

    operation: Operation
    key: str
    payload: bytes = field(repr=False)
    version: int = 0
    hash: Hash | None = None
    prehashed: bool = False
    marshaling: Marshaling = Marshaling.ASN1
    padding: Padding = Padding.PSS
    salt_bytes: int = SALT_AUTO
    check: bytes = field(default=b"", repr=False)
    associated_data: bytes = field(default=b"", repr=False)
    deadline_ns: int = 0  # CLOCK_MONOTONIC; 0 for none of the client's own
    check_is_hmac: bool = False  # verify of an HMAC, for a key that could do either


@dataclass(frozen=True, slots=True)
class Answer:
    """What came out. `payload` is the signature, HMAC, ciphertext, plaintext, blob or DER public key.

    Of verify it is b"\\1" where the signature is good, else b"\\0".
    """

    payload: bytes = field(repr=False)
    version: int


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """One version of a configured key as it is on the token."""

    key: str
    number: int
    type: KeyType
    public_key: bytes | None  # DER SubjectPublicKeyInfo (RFC 5280); None for secret keys
    is_retired: bool  # the token itself refuses to sign, encrypt or wrap with it; verify and decrypt go on
    place: str = ""  # where on the token it was found: a reload may give the name to another key


class TokenMechanism(StrEnum):
    """What the token itself is asked for. Messages are hashed here: the token sees digests."""

    ECDSA = "ecdsa"  # CKM_ECDSA over a digest
    EDDSA = "eddsa"  # CKM_EDDSA over the message (RFC 8032, pure)
    RSA_PKCS1 = "rsa-pkcs1"  # CKM_RSA_PKCS over a DigestInfo
    RSA_PSS = "rsa-pss"  # CKM_RSA_PKCS_PSS over a digest
    HMAC = "hmac"  # CKM_SHA256_HMAC and so on, over the message


@dataclass(frozen=True, slots=True)
class TokenCall:
    """One signature or HMAC as the token is asked for it. `salt_bytes` is PSS's, already a length."""

    key: KeyVersion
    mechanism: TokenMechanism
    data: bytes = field(repr=False)
    hash: Hash | None = None
    salt_bytes: int = 0
