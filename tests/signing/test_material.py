"""Keys from files: each form is read, everything else is refused, and no message shows the key."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from secretsd.signing.material import MaterialError, parse
from secretsd.signing.model import KeyType
from tests.canary.scan import shows
from tests.canary.spellings import MARKER

PAIRS = {
    "ecdsa-p256": ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-p384": ec.generate_private_key(ec.SECP384R1()),
    "ecdsa-secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "rsa-2048": rsa.generate_private_key(65537, 2048),
}
SECRETS = ("hmac", "aes256-gcm96", "aes256-wrap")
CONTENT = MARKER.encode()


@pytest.mark.parametrize("type_", PAIRS)
@pytest.mark.parametrize(("encoding", "name"), [(Encoding.PEM, "pem"), (Encoding.DER, "der")])
@pytest.mark.parametrize("layout", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_key_pair_of_each_form_becomes_pkcs8(
    type_: str, encoding: Encoding, name: str, layout: PrivateFormat
) -> None:
    private = PAIRS[type_]
    if type_ == "ed25519":
        layout = PrivateFormat.PKCS8  # there is no older form
    content = private.private_bytes(encoding, layout, NoEncryption())
    for form in ("", name):
        made = load_der_private_key(parse(content, form, type_), None)
        public = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert made.public_key().public_bytes(*public) == private.public_key().public_bytes(*public)


@pytest.mark.parametrize("type_", PAIRS)
def test_a_key_pair_of_another_type_is_refused(type_: str) -> None:
    content = PAIRS[type_].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for other in [each for each in KeyType if each.has_public_key and each.value != type_]:
        with pytest.raises(MaterialError, match="not of type"):
            parse(content, "", other)
    key = dsa.generate_private_key(1024)
    with pytest.raises(MaterialError, match="not of type"):
        parse(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "", type_)


def test_a_key_with_a_password_is_refused_with_the_way_out() -> None:
    encrypted = BestAvailableEncryption(b"fake-password")
    content = PAIRS["ecdsa-p256"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encrypted)
    with pytest.raises(MaterialError, match="password") as refused:
        parse(content, "", "ecdsa-p256")
    assert "openssl" in refused.value.advice


@pytest.mark.parametrize("type_", SECRETS)
def test_a_secret_key_is_read_as_it_is_said_to_be_and_never_guessed(type_: str) -> None:
    key = bytes(range(32))
    for form, content in (
        ("raw", key),
        ("hex", key.hex().encode() + b"\n"),
        ("hex", b"\n".join([key.hex().upper().encode()[:32], key.hex().encode()[32:]])),
        ("base64", base64.b64encode(key) + b"\n"),
    ):
        assert parse(content, form, type_) == key
    for form in ("", "pem", "der"):
        with pytest.raises(MaterialError):
            parse(key, form, type_)
    with pytest.raises(MaterialError):
        parse(b"", "raw", type_)


def test_an_aes_key_of_another_length_is_refused_and_an_hmac_key_is_not() -> None:
    assert parse(b"\n", "raw", "hmac") == b"\n"
    for length in (16, 31, 33):
        with pytest.raises(MaterialError, match="32 bytes"):
            parse(b"k" * length, "raw", "aes256-gcm96")


@pytest.mark.parametrize("form", ["", "pem", "der", "raw", "hex", "base64"])
@pytest.mark.parametrize("type_", list(KeyType))
def test_no_error_shows_what_the_file_holds(form: str, type_: KeyType) -> None:
    for content in (CONTENT, b"-----BEGIN PRIVATE KEY-----\n" + CONTENT + b"\n-----END PRIVATE KEY-----\n"):
        try:
            parse(content, form, type_)
        except MaterialError as error:
            shown = f"{error!r} {error} {error.advice}"
        else:
            shown = ""
        assert not shows(shown)


@given(
    st.binary(max_size=200),
    st.sampled_from(["", "pem", "der", "hex", "base64"]),
    st.sampled_from(list(KeyType)),
)
def test_any_bytes_are_a_key_or_a_refusal(content: bytes, form: str, type_: KeyType) -> None:
    try:
        made = parse(content, form, type_)
    except MaterialError:
        made = b"refused"
    assert made
