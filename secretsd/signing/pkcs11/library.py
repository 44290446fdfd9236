"""A PKCS#11 module, loaded so that many threads may use it."""

from __future__ import annotations

import ctypes
from typing import Any

from pkcs11 import _pkcs11
from pkcs11.exceptions import (
    DeviceError,
    FunctionFailed,
    GeneralError,
    HostMemory,
    PKCS11Error,
)

_CKF_OS_LOCKING_OK = 0x2
_CKR_OK = 0x0
_CKR_CRYPTOKI_ALREADY_INITIALIZED = 0x191
_ERRORS: dict[int, type[PKCS11Error]] = {
    0x2: HostMemory,
    0x5: GeneralError,
    0x6: FunctionFailed,
    0x30: DeviceError,
}


class _InitializeArguments(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS (PKCS#11 2.40, 3.7)."""

    _fields_ = (
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_void_p),
    )


class _FunctionList(ctypes.Structure):
    """The beginning of CK_FUNCTION_LIST: all that is called from here."""

    _fields_ = (
        ("version", ctypes.c_ubyte * 2),
        ("initialize", ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)),
        ("finalize", ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)),
    )


class LockingLibrary(_pkcs11.lib):
    """python-pkcs11's `lib`, initialised with locks of the operating system.

    The stock class calls C_Initialize(NULL), which promises the module one thread, and releases the GIL
    around every later call: with four threads SoftHSM crashes. C_Finalize is called without the GIL, too.
    """

    def initialize(self) -> None:
        arguments = _InitializeArguments(flags=_CKF_OS_LOCKING_OK)
        code = self._functions().initialize(ctypes.byref(arguments))
        if code != _CKR_CRYPTOKI_ALREADY_INITIALIZED:
            _check(code)

    def finalize(self) -> None:
        """No call may be under way. Sessions and handles are gone afterwards."""
        _check(self._functions().finalize(None))

    def reinitialize(self) -> None:
        self.finalize()
        self.initialize()

    def _functions(self) -> Any:
        # The same handle that python-pkcs11 has: the dynamic linker loads a file once.
        get_function_list = ctypes.CDLL(self.so).C_GetFunctionList
        functions = ctypes.POINTER(_FunctionList)()
        _check(get_function_list(ctypes.byref(functions)))
        return functions.contents


def _check(code: int) -> None:
    if code != _CKR_OK:
        raise _ERRORS.get(code, PKCS11Error)(f"CKR 0x{code:x}")
