"""Makes a token of SoftHSM that can be logged in to.

softhsm2-util wants the PINs as arguments, which every user of the host can read, or from a terminal.
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any

from pkcs11 import Token, TokenFlag
from pkcs11.exceptions import PKCS11Error

from secretsd.signing.errors import SigningError
from secretsd.signing.pkcs11.library import LockingLibrary

_LABEL_BYTES = 32  # CK_TOKEN_INFO pads with blanks (PKCS#11 2.40, 3.2)
_CKR_OK = 0


def initialise(module: str, label: str, so_pin: str, pin: str) -> bool:
    """Makes the token unless it is there and has a PIN. Returns whether it was made. Blocks for about 0.1 s.

    A token without a user's PIN was left by an interrupted run, holds no keys and is made anew.

    Raises: SigningError module-missing, token-refused.
    """
    try:
        library = LockingLibrary(module)
    except (PKCS11Error, OSError, AttributeError) as error:
        raise SigningError(
            "module-missing",
            f"the PKCS#11 module {module} cannot be loaded ({type(error).__name__})",
            advice="apt install softhsm2; see that its directory of tokens exists and is writable",
        ) from None
    try:
        found = _token(library, label)
        if found is not None and TokenFlag.USER_PIN_INITIALIZED in found.flags:
            return False
        slot = _free_slot(library) if found is None else found.slot.slot_id
        padded = label.encode().ljust(_LABEL_BYTES)
        code = ctypes.CDLL(module).C_InitToken(
            ctypes.c_ulong(slot), so_pin.encode(), ctypes.c_ulong(len(so_pin.encode())), padded
        )
        if code != _CKR_OK:
            raise _refused(f"C_InitToken: CKR 0x{code:x}")
        library.reinitialize()  # SoftHSM numbers its slots anew
        _set_pin(_token(library, label), so_pin, pin)
    except PKCS11Error as error:
        raise _refused(type(error).__name__) from None
    finally:
        with contextlib.suppress(PKCS11Error):
            library.finalize()
    return True


def _set_pin(token: Token | None, so_pin: str, pin: str) -> None:
    if token is None:
        raise _refused("the token is not there after it was made")
    session: Any = token.open(rw=True, so_pin=so_pin)
    session.init_pin(pin)
    session.close()


def _token(library: LockingLibrary, label: str) -> Token | None:
    tokens = [slot.get_token() for slot in library.get_slots(token_present=True)]
    return next((token for token in tokens if token.label == label), None)


def _free_slot(library: LockingLibrary) -> int:
    for slot in library.get_slots(token_present=True):
        if TokenFlag.TOKEN_INITIALIZED not in slot.get_token().flags:
            return int(slot.slot_id)
    raise _refused("it has no free slot")


def _refused(why: str) -> SigningError:
    return SigningError(
        "token-refused",
        f"the token cannot be made: {why}",
        advice="see that the directory of tokens is writable for the user secretsd-signer, and not full",
    )
