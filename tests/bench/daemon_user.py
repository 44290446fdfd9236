"""Runs code as the installed service runs: a user of its own with CAP_CHOWN and nothing else."""

from __future__ import annotations

import ctypes
import os
import traceback
from collections.abc import Callable

# A uid that no Debian package has: between systemd's dynamic users and those of containers.
UID = GID = 65500

_PR_SET_KEEPCAPS = 8
_CAP_CHOWN = 1 << 0
_CAPABILITY_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def become() -> None:
    """Gives up root for good. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setresgid(GID, GID, GID)
    os.setresuid(UID, UID, UID)
    header = _Header(_CAPABILITY_VERSION_3, 0)
    sets = (_Sets * 2)(_Sets(_CAP_CHOWN, _CAP_CHOWN, 0), _Sets(0, 0, 0))
    _check(libc.capset(ctypes.byref(header), sets))
    os.umask(0o077)


def become_plain(uid: int, gid: int) -> None:
    """Gives up root for good, for a user without any capability. Raises OSError."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def run(code: Callable[[], int], *, become: Callable[[], None] = become) -> int:
    """Runs `code` in a child that has become the daemon's user; returns what it returned, 70 for a crash."""
    pid = os.fork()
    if pid == 0:
        result = 70
        try:
            become()
            result = code()
        except BaseException:  # noqa: BLE001 - whatever it was, it is shown and becomes a finding
            traceback.print_exc()
        finally:
            os._exit(result)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
