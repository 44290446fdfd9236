"""Builds and steers the meddling PKCS#11 module of shim.c."""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
from pathlib import Path

from tests.signing.softhsm import MODULE

SOURCE = Path(__file__).with_name("shim.c")
FUNCTIONS = 68
FOREVER = 0xFFFFFFFF
# Positions in CK_FUNCTION_LIST, as in shim.c.
POSITIONS = {
    "C_Initialize": 0,
    "C_Finalize": 1,
    "C_OpenSession": 12,
    "C_Login": 18,
    "C_CreateObject": 20,
    "C_FindObjects": 27,
    "C_EncryptInit": 29,
    "C_SignInit": 42,
    "C_Sign": 43,
}
# pkcs11t.h
CODES = {
    "CKR_HOST_MEMORY": 0x02,
    "CKR_GENERAL_ERROR": 0x05,
    "CKR_FUNCTION_FAILED": 0x06,
    "CKR_DEVICE_ERROR": 0x30,
    "CKR_DEVICE_REMOVED": 0x32,
    "CKR_KEY_HANDLE_INVALID": 0x60,
    "CKR_OBJECT_HANDLE_INVALID": 0x82,
    "CKR_OPERATION_ACTIVE": 0x90,
    "CKR_PIN_INCORRECT": 0xA0,
    "CKR_SESSION_CLOSED": 0xB0,
    "CKR_SESSION_HANDLE_INVALID": 0xB3,
    "CKR_TOKEN_NOT_PRESENT": 0xE0,
    "CKR_USER_NOT_LOGGED_IN": 0x101,
}
OTHER_CODES = {"CKR_KEY_FUNCTION_NOT_PERMITTED": 0x68, "CKR_CRYPTOKI_NOT_INITIALIZED": 0x190}
_WORD = struct.Struct("=I")
_RV, _TIMES, _DELAY, _CALLS, _WRITES_IV = (FUNCTIONS * 4 * part for part in range(5))
_OWN_WRAP = _WRITES_IV + 4
_LABEL = _OWN_WRAP + 4
_SIZE = _LABEL + 64


def build(directory: Path) -> Path:
    """The compiled module."""
    built = directory / "shim.so"
    if not built.exists():
        command = (
            "cc",
            "-shared",
            "-fPIC",
            "-O2",
            "-Wall",
            "-o",
            os.fspath(built),
            os.fspath(SOURCE),
            "-ldl",
        )
        subprocess.run(command, check=True)
    return built


class Shim:
    """The control file of the processes that load the module with `environment`."""

    def __init__(self, directory: Path, real: Path = MODULE) -> None:
        self.module = build(directory)
        self._path = directory / "shim.control"
        self._path.write_bytes(bytes(_SIZE))
        with self._path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)
        self.environment = {
            "SECRETSD_SHIM_MODULE": os.fspath(real),
            "SECRETSD_SHIM_CONTROL": os.fspath(self._path),
        }

    def fail(self, function: str, code: str, times: int = 1) -> None:
        """Lets the next `times` calls of `function` return `code`."""
        position = POSITIONS[function]
        self._write(_TIMES + 4 * position, times)
        self._write(_RV + 4 * position, (CODES | OTHER_CODES)[code])

    def delay(self, function: str, seconds: float) -> None:
        self._write(_DELAY + 4 * POSITIONS[function], round(seconds * 1e6))

    def only(self, label: str) -> None:
        """Faults and delays of C_SignInit and C_Sign are for keys with this label, found from now on."""
        self._map[_LABEL : _LABEL + 64] = label.encode().ljust(64, b"\0")

    def write_iv(self, how: int = 1) -> None:
        """C_EncryptInit chooses the IV of AES-GCM itself, as CloudHSM does: twelve times 0xA5.

        2: it refuses every other buffer than one of zeros. 3: so, too, and it leaves the zeros there.
        """
        self._write(_WRITES_IV, how)

    def wrap_by_its_own_mechanism(self) -> None:
        """CKM_AES_KEY_WRAP_PAD is not known any more, but by the number that CloudHSM gave it."""
        self._write(_OWN_WRAP, 1)

    def calls(self, function: str) -> int:
        """How often `function` was called (C_Sign: for a signature, not for its length)."""
        return int(_WORD.unpack_from(self._map, _CALLS + 4 * POSITIONS[function])[0])

    def clear(self) -> None:
        """No faults and delays, and all counts at zero."""
        self._map[:] = bytes(_SIZE)

    def _write(self, offset: int, value: int) -> None:
        _WORD.pack_into(self._map, offset, value)
