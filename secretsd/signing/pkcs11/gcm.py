"""AES-256-GCM by the token, with an IV of ours or of its own."""

from __future__ import annotations

from collections.abc import Callable

from pkcs11 import GCMParams, Mechanism
from pkcs11.exceptions import (
    ArgumentsBad,
    EncryptedDataInvalid,
    EncryptedDataLenRange,
    GeneralError,
    MechanismParamInvalid,
)

from secretsd.signing.errors import SigningError

IV_BYTES = 12
# What a token says that lets nobody choose an IV.
IV_REFUSED = (ArgumentsBad, MechanismParamInvalid)
# What a token says of a ciphertext whose tag is wrong. SoftHSM's word is the last one, which a token that is
# lost says, too: ask it something else then.
NOT_OPENED = (EncryptedDataInvalid, EncryptedDataLenRange, GeneralError)


def encrypt(encrypt_: Callable[..., bytes], iv: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    """IV, ciphertext, 16 bytes of tag. `iv` is used for this call and never again: the token may write
    another one into its memory, as CloudHSM does, and that one is returned.

    Raises: PKCS11Error.
    """
    parameter = GCMParams(iv, associated_data)
    ciphertext = bytes(encrypt_(plaintext, mechanism=Mechanism.AES_GCM, mechanism_param=parameter))
    return iv + ciphertext


def encrypt_with_its_iv(encrypt_: Callable[..., bytes], plaintext: bytes, associated_data: bytes) -> bytes:
    """The same for a token that insists on choosing the IV: AWS documents that CloudHSM's PKCS#11 library
    requires an empty buffer for it.

    One that took the empty buffer for an IV would use it again and again, which gives the plaintext away:
    what it returned is thrown away.

    Raises: SigningError token-refused, PKCS11Error.
    """
    empty = bytes(IV_BYTES)
    blob = encrypt(encrypt_, bytes(IV_BYTES), plaintext, associated_data)
    if blob[:IV_BYTES] == empty:
        raise SigningError(
            "token-refused",
            "the token takes no IV and chooses none",
            advice="encrypt with another token: without an IV the key would be given away",
        )
    return blob


def decrypt(decrypt_: Callable[..., bytes], blob: bytes, associated_data: bytes) -> bytes:
    """The plaintext of what `encrypt` returned. Raises: PKCS11Error, one of NOT_OPENED for a bad blob."""
    parameter = GCMParams(blob[:IV_BYTES], associated_data)
    ciphertext = blob[IV_BYTES:]
    return bytes(decrypt_(ciphertext, mechanism=Mechanism.AES_GCM, mechanism_param=parameter))
