"""What a token says that it can do, beside what the configured keys need of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pkcs11 import Mechanism
from pkcs11.exceptions import PKCS11Error

from secretsd.config.signer import Signer, SigningKey
from secretsd.signing.model import Hash, KeyType
from secretsd.signing.pkcs11 import wrapping
from secretsd.signing.pkcs11.parameters import HMACS

_SIGNS = frozenset({"sign", "hmac", "encrypt", "decrypt"})


@dataclass(frozen=True, slots=True)
class Capabilities:
    """One look at a token. `lacking` has the mechanisms, by key, that the token says it does not have."""

    library: str
    token: str
    model: str
    serial: str
    mechanisms: int  # how many it has in all
    lacking: Mapping[str, tuple[str, ...]]


def look(library: Any, token: Any, config: Signer) -> Capabilities:
    """Asks the token for its mechanisms. Raises: PKCS11Error."""
    has = {int(mechanism) for mechanism in token.slot.get_mechanisms()}
    lacking = {}
    for name, key in config.keys.items():
        if missing := tuple(each.name for each in _needed(key, has) if not _has(token.slot, has, each, key)):
            lacking[name] = missing
    version = ".".join(map(str, library.library_version))
    return Capabilities(
        f"{library.library_description.strip()} {version}",
        token.label,
        token.model,
        token.serial.decode(errors="replace"),
        len(has),
        lacking,
    )


def _has(slot: Any, has: set[int], mechanism: Mechanism, key: SigningKey) -> bool:
    if int(mechanism) not in has:
        return False
    bits = KeyType(key.type).rsa_bits
    if not bits:
        return True
    try:
        info = slot.get_mechanism_info(mechanism)
    except PKCS11Error:
        return False
    # CloudHSM and others count bits here, as the standard says.
    return bool(info.min_key_length <= bits <= info.max_key_length)


def _needed(key: SigningKey, has: set[int]) -> Iterator[Mechanism]:
    """What the key's operations ask the token for. Signatures are verified here, without the token."""
    type_ = KeyType(key.type)
    if _SIGNS & set(key.operations):
        yield from _for_use(type_, key)
    if type_ is KeyType.AES_WRAP:
        yield wrapping.mechanism_among(has)


def _for_use(type_: KeyType, key: SigningKey) -> Iterator[Mechanism]:
    words = set(key.mechanisms or ())
    if type_.is_ecdsa:
        yield Mechanism.ECDSA
    elif type_ is KeyType.ED25519:
        yield Mechanism.EDDSA
    elif type_.is_rsa:
        paddings = words & {"pss", "pkcs1v15"} or {"pss", "pkcs1v15"}
        if "pkcs1v15" in paddings:
            yield Mechanism.RSA_PKCS
        if "pss" in paddings:
            yield Mechanism.RSA_PKCS_PSS
    elif type_ is KeyType.HMAC:
        for hash_ in [each for each in Hash if each in words] or [type_.own_hash]:
            yield HMACS[hash_]
    elif type_ is KeyType.AES_GCM:
        yield Mechanism.AES_GCM
