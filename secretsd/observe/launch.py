"""What runs in the child between the daemon and an alert command: gives up what the daemon would pass on.

A program of its own, since Python code between fork and exec could wait for ever for a lock that another
thread of the daemon held. Not setpriv(1), which needs capset(2) for this, and secretsd.service forbids that.
"""

from __future__ import annotations

import contextlib
import os
import sys

from secretsd import process

NOT_RUN = 127  # as a shell has it
_ORDINARY = b"0"  # the daemon is spared where memory runs out; its alerts are not


def main() -> None:
    """Becomes the program that the arguments name, after the daemon's pid."""
    parent_pid, command = int(sys.argv[1]), sys.argv[2:]
    process.die_with_parent(parent_pid)
    process.drop_ambient_rights()
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb") as file:
        file.write(_ORDINARY)
    try:
        os.execv(command[0], command)  # noqa: S606 - that there is no shell is the point
    except OSError:
        os._exit(NOT_RUN)
