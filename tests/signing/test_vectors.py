"""Published vectors: their keys on a real token, and every signature checked against them or by software."""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)

from secretsd.signing.encodings import ORDERS
from secretsd.signing.errors import SigningError
from secretsd.signing.mechanisms import work
from secretsd.signing.model import (
    SALT_AUTO,
    SALT_HASH,
    Hash,
    KeyType,
    KeyVersion,
    Marshaling,
    Operation,
    Padding,
    Request,
)
from secretsd.signing.pkcs11.lane import Lane
from secretsd.signing.pkcs11.token import Token
from tests.signing import vectors
from tests.signing.dispatching import hmac_key, signer_config
from tests.signing.softhsm import SoftHsm

SHA2 = {"SHA-256": Hash.SHA2_256, "SHA-384": Hash.SHA2_384, "SHA-512": Hash.SHA2_512}
RSA_SHA2 = {"SHA256": Hash.SHA2_256, "SHA384": Hash.SHA2_384, "SHA512": Hash.SHA2_512}
ALGORITHMS = {
    Hash.SHA2_256: hashes.SHA256(),
    Hash.SHA2_384: hashes.SHA384(),
    Hash.SHA2_512: hashes.SHA512(),
}
CURVES: dict[KeyType, ec.EllipticCurve] = {
    KeyType.P256: ec.SECP256R1(),
    KeyType.P384: ec.SECP384R1(),
    KeyType.SECP256K1: ec.SECP256K1(),
}
NIST_CURVES = {"P-256": KeyType.P256, "P-384": KeyType.P384}
EACH = 24  # vectors of one kind whose keys are put on the token


class Keys:
    """A token that takes keys as they come."""

    def __init__(self, softhsm: SoftHsm, kinds: dict[str, dict[str, Any]]) -> None:
        self.token = Token(signer_config(softhsm, kinds))
        self.token.open()
        self.lane: Lane = self.token.lane()

    def put(self, name: str, material: bytes) -> KeyVersion:
        return self.lane.import_key(name, material)

    def do(self, key: KeyVersion, operation: Operation, payload: bytes, **how: Any) -> bytes:
        return work(Request(operation, key.key, payload, **how), key)(self.lane)


@pytest.fixture
def keys(softhsm: SoftHsm) -> Iterator[Keys]:
    kinds = {
        each.value: {"type": each.value, "operations": ["sign"]} for each in KeyType if each.has_public_key
    }
    kinds |= {"hmac": hmac_key(wrapped_by="aes256-wrap")}
    kinds |= {"aes256-gcm96": {"type": "aes256-gcm96", "operations": ["encrypt", "decrypt"]}}
    kinds |= {"aes256-wrap": {"type": "aes256-wrap"}}
    made = Keys(softhsm, kinds)
    yield made
    made.token.close()


def _pkcs8(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def _spki(key: Any) -> bytes:
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _version(type_: KeyType, public: Any) -> KeyVersion:
    return KeyVersion(type_.value, 1, type_, _spki(public), is_retired=False)


def _is_verified(key: KeyVersion, payload: bytes, signature: bytes, **how: Any) -> bool:
    request = Request(Operation.VERIFY, key.key, payload, check=signature, **how)
    return work(request, key)(None) == b"\1"  # type: ignore[arg-type]  # verified without the token


def test_ed25519_signs_as_rfc_8032_says(keys: Keys) -> None:
    lines = (vectors.ROOT / "asymmetric/Ed25519/sign.input").read_text().splitlines()
    assert len(lines) == 1024
    for line in lines[:: len(lines) // EACH]:
        secret, public, message, signed = (bytes.fromhex(part) for part in line.split(":")[:4])
        key = keys.put("ed25519", _pkcs8(ed25519.Ed25519PrivateKey.from_private_bytes(secret[:32])))
        assert key.public_key is not None
        assert key.public_key.endswith(public)
        signature = keys.do(key, Operation.SIGN, message)
        assert signature == signed[:64]


def test_ed25519_vectors_are_good_and_not_with_another_message() -> None:
    for line in (vectors.ROOT / "asymmetric/Ed25519/sign.input").read_text().splitlines():
        _, public, message, signed = (bytes.fromhex(part) for part in line.split(":")[:4])
        key = _version(KeyType.ED25519, ed25519.Ed25519PublicKey.from_public_bytes(public))
        assert _is_verified(key, message, signed[:64])
        assert not _is_verified(key, message + b"x", signed[:64])
        assert not _is_verified(key, message, signed[:63])


def test_nist_ecdsa_verdicts() -> None:
    verdicts = {"P": 0, "F": 0}
    for section, block in vectors.read("asymmetric/ECDSA/FIPS_186-3/SigVer.rsp"):
        curve, _, hash_ = section.partition(",")
        if curve not in NIST_CURVES or hash_ not in SHA2:
            continue
        type_ = NIST_CURVES[curve]
        numbers = ec.EllipticCurvePublicNumbers(
            vectors.number(block, "Qx"), vectors.number(block, "Qy"), CURVES[type_]
        )
        try:
            key = _version(type_, numbers.public_key())
        except ValueError:  # a point that is not on the curve
            assert block["Result"].startswith("F")
            continue
        der = encode_dss_signature(vectors.number(block, "R"), vectors.number(block, "S"))
        verdict = block["Result"][0]
        verdicts[verdict] += 1
        good = _is_verified(key, vectors.octets(block, "Msg"), der, hash=SHA2[hash_])
        assert good == (verdict == "P"), block["Result"]
    assert verdicts["P"] >= 15
    assert verdicts["F"] >= 60


def _nist_ecdsa() -> Iterator[tuple[KeyType, Hash, vectors.Block]]:
    counts: dict[tuple[str, str], int] = {}
    for section, block in vectors.read("asymmetric/ECDSA/FIPS_186-3/SigGen.txt"):
        curve, _, hash_ = section.partition(",")
        if curve in NIST_CURVES and hash_ in SHA2 and counts.setdefault((curve, hash_), 0) < 4:
            counts[curve, hash_] += 1
            yield NIST_CURVES[curve], SHA2[hash_], block


def test_nist_ecdsa_keys_on_the_token(keys: Keys) -> None:
    tried = 0
    for type_, hash_, block in _nist_ecdsa():
        private = ec.derive_private_key(vectors.number(block, "d"), CURVES[type_])
        key = keys.put(type_.value, _pkcs8(private))
        assert key.public_key == _spki(private.public_key())
        message = vectors.octets(block, "Msg")
        published = encode_dss_signature(vectors.number(block, "R"), vectors.number(block, "S"))
        assert _is_verified(key, message, published, hash=hash_)
        signature = keys.do(key, Operation.SIGN, message, hash=hash_)
        load_der_public_key(key.public_key).verify(signature, message, ec.ECDSA(ALGORITHMS[hash_]))  # type: ignore[union-attr, arg-type, call-arg]
        raw = keys.do(key, Operation.SIGN, message, hash=hash_, marshaling=Marshaling.JWS)
        assert _is_verified(key, message, raw, hash=hash_, marshaling=Marshaling.JWS)
        assert int.from_bytes(raw[len(raw) // 2 :], "big") <= ORDERS[type_] // 2
        tried += 1
    assert tried == 2 * 3 * 4


def test_secp256k1_keys_on_the_token(keys: Keys) -> None:
    blocks = list(islice(vectors.read("asymmetric/ECDSA/SECP256K1/SigGen.txt"), EACH))
    assert len(blocks) == EACH
    for section, block in blocks:
        hash_ = SHA2.get(section.split(",")[1].strip(), Hash.SHA2_256)
        private = ec.derive_private_key(vectors.number(block, "d"), ec.SECP256K1())
        key = keys.put("ecdsa-secp256k1", _pkcs8(private))
        message = vectors.octets(block, "Msg")
        signature = keys.do(key, Operation.SIGN, message, hash=hash_)
        private.public_key().verify(signature, message, ec.ECDSA(ALGORITHMS[hash_]))
        eth = keys.do(key, Operation.SIGN, message, marshaling=Marshaling.ETH)
        assert len(eth) == 65
        assert eth[64] in (0, 1)
        assert _is_verified(key, message, eth, marshaling=Marshaling.ETH)
        other = eth[:64] + bytes((1 - eth[64],))
        assert not _is_verified(key, message, other, marshaling=Marshaling.ETH)


def test_the_published_ethereum_key_is_recovered(keys: Keys) -> None:
    # EIP-155's example: private key, hash to sign, sender's address.
    secret = "46" * 32
    digest = bytes.fromhex("daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53")
    private = ec.derive_private_key(int(secret, 16), ec.SECP256K1())
    key = keys.put("ecdsa-secp256k1", _pkcs8(private))
    raw = bytes.fromhex(
        "28ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276"
        "67cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83"
    )
    assert _is_verified(key, digest, raw + b"\0", prehashed=True, marshaling=Marshaling.ETH)
    for _ in range(16):  # both recovery ids come up
        eth = keys.do(key, Operation.SIGN, digest, prehashed=True, marshaling=Marshaling.ETH)
        assert _is_verified(key, digest, eth, prehashed=True, marshaling=Marshaling.ETH)


def _rsa(path: str) -> Iterator[tuple[KeyType, Hash, vectors.Block, rsa.RSAPublicKey]]:
    sizes = {2048: KeyType.RSA_2048, 3072: KeyType.RSA_3072, 4096: KeyType.RSA_4096}
    public = None
    for _, block in vectors.read(path):
        if "n" in block:
            public = rsa.RSAPublicNumbers(
                vectors.number(block, "e") if "e" in block else 65537, vectors.number(block, "n")
            )
        if public is None or "SHAAlg" not in block or public.n.bit_length() not in sizes:
            continue
        hash_ = RSA_SHA2.get(block["SHAAlg"])
        if hash_ is not None:
            yield sizes[public.n.bit_length()], hash_, block, public.public_key()


@pytest.mark.parametrize(
    ("path", "scheme"),
    [
        ("asymmetric/RSA/FIPS_186-2/SigGen15_186-3.rsp", Padding.PKCS1V15),
        ("asymmetric/RSA/FIPS_186-2/SigGenPSS_186-3.rsp", Padding.PSS),
    ],
)
def test_nist_rsa_signatures_are_good(path: str, scheme: Padding) -> None:
    tried = 0
    for type_, hash_, block, public in _rsa(path):
        key = _version(type_, public)
        message, signature = vectors.octets(block, "Msg"), vectors.octets(block, "S")
        assert _is_verified(key, message, signature, hash=hash_, padding=scheme)
        assert not _is_verified(key, message + b"x", signature, hash=hash_, padding=scheme)
        altered = signature[:-1] + bytes((signature[-1] ^ 1,))
        assert not _is_verified(key, message, altered, hash=hash_, padding=scheme)
        tried += 1
    assert tried >= 60


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_rsa_on_the_token(keys: Keys, bits: int) -> None:
    private = rsa.generate_private_key(65537, bits)
    key = keys.put(f"rsa-{bits}", _pkcs8(private))
    for hash_, algorithm in ALGORITHMS.items():
        # Deterministic: the token's signature is the software's, byte by byte.
        expected = private.sign(b"message", padding.PKCS1v15(), algorithm)
        how: dict[str, Any] = {"hash": hash_, "padding": Padding.PKCS1V15}
        assert keys.do(key, Operation.SIGN, b"message", **how) == expected
        digest = hashlib.new(hash_.replace("sha2-", "sha"), b"message").digest()
        assert keys.do(key, Operation.SIGN, digest, prehashed=True, **how) == expected
        most = bits // 8 - hash_.digest_bytes - 2
        for salt, length in ((SALT_AUTO, most), (SALT_HASH, hash_.digest_bytes), (0, 0), (most, most)):
            signature = keys.do(key, Operation.SIGN, b"message", hash=hash_, salt_bytes=salt)
            pss = padding.PSS(padding.MGF1(algorithm), length)
            private.public_key().verify(signature, b"message", pss, algorithm)
            assert _is_verified(key, b"message", signature, hash=hash_, salt_bytes=salt)
        for wrong in (most + 1, -3):
            with pytest.raises(SigningError, match="salt"):
                keys.do(key, Operation.SIGN, b"message", hash=hash_, salt_bytes=wrong)


@pytest.mark.parametrize("bits", [256, 384, 512])
def test_hmac_as_rfc_4231_says(keys: Keys, bits: int) -> None:
    blocks = [block for _, block in vectors.read(f"HMAC/rfc-4231-sha{bits}.txt")]
    assert len(blocks) >= 6
    for block in blocks:
        key = keys.put("hmac", vectors.octets(block, "Key"))
        message, published = vectors.octets(block, "Msg"), vectors.octets(block, "MD")
        how = {"hash": Hash(f"sha2-{bits}")}
        assert keys.do(key, Operation.HMAC, message, **how) == published
        assert keys.do(key, Operation.VERIFY, message, check=published, **how) == b"\1"
        assert keys.do(key, Operation.VERIFY, message, check=bytes(len(published)), **how) == b"\0"
        assert keys.do(key, Operation.VERIFY, message, check=published[:-1], **how) == b"\0"


def test_nist_gcm_plaintexts_come_out_and_altered_ones_do_not(keys: Keys) -> None:
    good = bad = 0
    for _, block in vectors.read("ciphers/AES/GCM/gcmDecrypt256.rsp"):
        if len(block.get("IV", "")) != 24 or len(block.get("Tag", "")) != 32 or int(block["Count"]) > 1:
            continue
        if good + bad >= 60:
            break
        key = keys.put("aes256-gcm96", vectors.octets(block, "Key"))
        blob = vectors.octets(block, "IV") + vectors.octets(block, "CT") + vectors.octets(block, "Tag")
        aad = vectors.octets(block, "AAD")
        if "PT" in block:
            assert keys.do(key, Operation.DECRYPT, blob, associated_data=aad) == vectors.octets(block, "PT")
            good += 1
            blob = blob[:-1] + bytes((blob[-1] ^ 1,))
        with pytest.raises(SigningError) as caught:
            keys.do(key, Operation.DECRYPT, blob, associated_data=aad)
        assert caught.value.code == "bad-ciphertext"
        bad += 1
    assert good >= 10
    assert bad >= 20


def test_nist_wrapped_keys_enter_the_token_and_altered_ones_do_not(keys: Keys) -> None:
    """SP 800-38F's KWP is RFC 5649. What entered shows itself by its HMAC."""
    head = struct.pack("!4sH", b"sdw\x01", 0)
    tried = 0
    for _, block in vectors.read("keywrap/kwtestvectors/KWP_AE_256.txt"):
        plain = vectors.octets(block, "P")
        if not 32 <= len(plain) <= 512 or tried >= EACH:
            continue
        keys.put("aes256-wrap", vectors.octets(block, "K"))
        wrapped = vectors.octets(block, "C")
        key = keys.lane.unwrap("hmac", head + wrapped)
        mac = keys.do(key, Operation.HMAC, b"message")
        assert mac == hmac_of(plain, b"message")
        with pytest.raises(SigningError) as caught:
            keys.lane.unwrap("hmac", head + wrapped[:-1] + bytes((wrapped[-1] ^ 1,)))
        assert caught.value.code == "bad-ciphertext"
        tried += 1
    assert tried == EACH


def hmac_of(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


@pytest.mark.parametrize("length", [1, 16, 31, 32, 63, 64, 65, 127, 128, 129, 200])
@pytest.mark.parametrize("bits", [256, 384, 512])
def test_an_hmac_key_of_any_length_is_the_same_key(keys: Keys, length: int, bits: int) -> None:
    secret = bytes(range(1, length + 1))
    key = keys.put("hmac", secret)
    how = {"hash": Hash(f"sha2-{bits}")}
    assert keys.do(key, Operation.HMAC, b"message", **how) == hmac.digest(secret, b"message", f"sha{bits}")
