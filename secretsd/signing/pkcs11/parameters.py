"""What PKCS#11 calls the mechanisms of the model, with their parameters. Pure."""

from __future__ import annotations

from typing import Any

from pkcs11 import MGF, Mechanism

from secretsd.signing.model import Hash, TokenCall, TokenMechanism

HMACS = {
    Hash.SHA2_256: Mechanism.SHA256_HMAC,
    Hash.SHA2_384: Mechanism.SHA384_HMAC,
    Hash.SHA2_512: Mechanism.SHA512_HMAC,
}
_MECHANISMS = {
    TokenMechanism.ECDSA: Mechanism.ECDSA,
    TokenMechanism.EDDSA: Mechanism.EDDSA,
    TokenMechanism.RSA_PKCS1: Mechanism.RSA_PKCS,
    TokenMechanism.RSA_PSS: Mechanism.RSA_PKCS_PSS,
}
_PSS = {
    Hash.SHA2_256: (Mechanism.SHA256, MGF.SHA256),
    Hash.SHA2_384: (Mechanism.SHA384, MGF.SHA384),
    Hash.SHA2_512: (Mechanism.SHA512, MGF.SHA512),
}


def mechanism(call: TokenCall) -> tuple[Mechanism, Any]:
    """The mechanism, and python-pkcs11's form of its parameter."""
    if call.mechanism is TokenMechanism.HMAC and call.hash is not None:
        return HMACS[call.hash], None
    if call.mechanism is TokenMechanism.RSA_PSS and call.hash is not None:
        return Mechanism.RSA_PKCS_PSS, (*_PSS[call.hash], call.salt_bytes)
    return _MECHANISMS[call.mechanism], None
