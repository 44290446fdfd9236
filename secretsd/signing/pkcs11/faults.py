"""Which error of a PKCS#11 module is mended how. Pure: no call is made here."""

from __future__ import annotations

import re
from enum import Enum, auto

from pkcs11 import exceptions
from pkcs11.exceptions import PKCS11Error

from secretsd.signing.errors import SigningError


class Cure(Enum):
    """What makes the next try better than the last one."""

    ANOTHER_TRY = auto()  # with a pause, in another session: the module or a cluster behind it is busy
    NEW_SESSION = auto()  # the session is undefined now: reopen it, find the key again
    LOGIN = auto()  # the login is lost: the login holder logs in again
    RESET = auto()  # the whole library: drain, C_Finalize, C_Initialize
    NONE = auto()  # the caller's fault: answer
    OPERATOR = auto()  # a wrong PIN is never tried twice: many tokens lock themselves after three


_CURES: dict[type[PKCS11Error], Cure] = {
    exceptions.FunctionFailed: Cure.ANOTHER_TRY,
    exceptions.HostMemory: Cure.ANOTHER_TRY,
    exceptions.DeviceMemory: Cure.ANOTHER_TRY,
    exceptions.SessionCount: Cure.ANOTHER_TRY,
    exceptions.FunctionCancelled: Cure.ANOTHER_TRY,
    exceptions.FunctionRejected: Cure.ANOTHER_TRY,
    exceptions.SessionHandleInvalid: Cure.NEW_SESSION,
    exceptions.SessionClosed: Cure.NEW_SESSION,
    exceptions.KeyHandleInvalid: Cure.NEW_SESSION,
    exceptions.ObjectHandleInvalid: Cure.NEW_SESSION,
    exceptions.WrappingKeyHandleInvalid: Cure.NEW_SESSION,
    exceptions.UnwrappingKeyHandleInvalid: Cure.NEW_SESSION,
    exceptions.OperationActive: Cure.NEW_SESSION,
    exceptions.OperationNotInitialized: Cure.NEW_SESSION,
    exceptions.UserNotLoggedIn: Cure.LOGIN,
    exceptions.DeviceError: Cure.RESET,
    exceptions.DeviceRemoved: Cure.RESET,
    exceptions.GeneralError: Cure.RESET,
    exceptions.TokenNotPresent: Cure.RESET,
    exceptions.TokenNotRecognised: Cure.RESET,
    exceptions.SlotIDInvalid: Cure.RESET,
    exceptions.PinIncorrect: Cure.OPERATOR,
    exceptions.PinInvalid: Cure.OPERATOR,
    exceptions.PinExpired: Cure.OPERATOR,
    exceptions.PinLenRange: Cure.OPERATOR,
    exceptions.PinLocked: Cure.OPERATOR,
    exceptions.PinTooWeak: Cure.OPERATOR,
    exceptions.UserPinNotInitialized: Cure.OPERATOR,
}


# Codes of PKCS#11 2.40 that python-pkcs11 has no class for: they come as PKCS11Error with a text.
_UNNAMED: dict[str, tuple[str, Cure]] = {
    "0xa": ("CKR_CANT_LOCK", Cure.NONE),
    "0x1b": ("CKR_ACTION_PROHIBITED", Cure.NONE),
    "0x68": ("CKR_KEY_FUNCTION_NOT_PERMITTED", Cure.NONE),
    "0x190": ("CKR_CRYPTOKI_NOT_INITIALIZED", Cure.RESET),
}
_NOT_INITIALIZED = "Initialisation error"  # python-pkcs11's text for 0x190
_NO_CODE = "of an unknown number"
_CODE = re.compile(r"0x[0-9a-f]+")
_WORD_ENDS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def cure_of(error: PKCS11Error) -> Cure:
    """What to do about `error`; what no table knows is the caller's fault, or at least not ours to repeat."""
    if type(error) is PKCS11Error:
        # A vendor's own codes may mean anything: another try does no harm.
        return _UNNAMED.get(_code_of(error), ("", Cure.ANOTHER_TRY))[1]
    return _CURES.get(type(error), Cure.NONE)


def name_of(error: PKCS11Error) -> str:
    """The error in words that a manual of the token has: "CKR_FUNCTION_FAILED", or "CKR 0x80000001"."""
    if type(error) is PKCS11Error:
        code = _code_of(error)
        return _UNNAMED.get(code, (f"CKR {code}", Cure.NONE))[0]
    return "CKR_" + _WORD_ENDS.sub("_", type(error).__name__).upper()


def is_from_the_module(error: PKCS11Error) -> bool:
    """Whether a module returned this, and not python-pkcs11, which found none to ask."""
    return type(error) is not PKCS11Error or _code_of(error) != _NO_CODE


def _code_of(error: PKCS11Error) -> str:
    if str(error).startswith(_NOT_INITIALIZED):
        return "0x190"
    found = _CODE.search(str(error))
    return found[0] if found else _NO_CODE


def refused(error: PKCS11Error) -> SigningError:
    """The token's no to what was asked."""
    return SigningError(
        "token-refused",
        f"the token refuses this ({name_of(error)})",
        advice="secretsctl doctor shows which mechanisms and keys the token really has",
    )


def pin_locked(error: PKCS11Error, advice: str) -> SigningError:
    """`advice` says where the right PIN goes: only the configuration knows."""
    return SigningError(
        "pin-locked",
        f"the token did not accept the PIN ({name_of(error)}); it is not tried again by itself",
        advice=advice,
    )


def unavailable(error: PKCS11Error) -> SigningError:
    return SigningError(
        "token-unavailable",
        f"the token does not answer ({name_of(error)})",
        advice="it is tried again by itself; is the token still there? journalctl -t secretsd-signer -n 50",
    )


def busy() -> SigningError:
    return SigningError(
        "token-busy",
        "the token fails at what it is asked, again and again",
        advice="ask again in a second; if this lasts, lower sessions or see the token's own logs",
    )
