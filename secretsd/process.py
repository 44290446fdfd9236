"""What a process does to itself so that its memory stays its own."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

# prctl(2)
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4


def forbid_dumps() -> None:
    """No core file, and no debugger or /proc/PID/mem for anybody but root.

    Raises: OSError.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel for SIGKILL when the parent ends; ends at once if it already has.

    Raises: OSError.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(0)


def drop_ambient_rights() -> None:
    """Lets the next execve(2) of an unprivileged process end without any capability.

    Raises: OSError.
    """
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)


def limit_memory(address_space_bytes: int) -> None:
    """Let allocations beyond this fail instead of eating the host."""
    resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes, address_space_bytes))


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")
