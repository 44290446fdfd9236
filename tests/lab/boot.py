"""One boot of a lab machine: systemd-nspawn from its start to the death of its leader."""

from __future__ import annotations

import contextlib
import errno
import os
import pty
import shlex
import signal
import stat
import subprocess
import threading
import time
from collections import deque

from tests.lab import cgroups
from tests.lab.processes import children_of
from tests.lab.room import ROOT_INSIDE, Room

_NSPAWN = [
    "systemd-nspawn",
    f"--directory={ROOT_INSIDE}",
    "--boot",
    "--machine=lab",
    "--register=no",
    "--keep-unit",
    "--link-journal=no",
    "--resolv-conf=off",
    "--timezone=off",
    # mlock, memfd_secret and bpf, which secretsd and its sandbox use and nspawn refuses by default; NET_ADMIN
    # because nspawn gives it only with a network that it has made itself.
    "--capability=CAP_IPC_LOCK,CAP_BPF,CAP_NET_ADMIN",
    "--system-call-filter=@memlock memfd_secret bpf",
]
# SIGRTMIN+4 asks a systemd that is PID 1 to power off (systemd(1)).
_POWER_OFF = signal.SIGRTMIN + 4
_CONSOLE_LINES = 60


class BootError(RuntimeError):
    """The machine did not come up; the text holds the end of its console."""


class Boot:
    """A running machine. `leader` is its PID 1 as this machine numbers it."""

    def __init__(self, room: Room, *, timeout_s: float) -> None:
        """Starts it and returns when systemd takes commands. Raises BootError."""
        self._console: deque[bytes] = deque(maxlen=_CONSOLE_LINES)
        self._groups = room.groups
        self._nspawn = self._start(room)
        try:
            self.leader = self._wait_for_leader(time.monotonic() + timeout_s)
        except BootError:
            self.kill()
            raise

    def power_off(self, *, timeout_s: float) -> None:
        """Shuts the machine down in order, by force when that takes longer than `timeout_s`."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.leader, _POWER_OFF)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._nspawn.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """Ends every process of the machine at once, as a power cut does."""
        if self._nspawn.poll() is None:
            # The leader goes first: nspawn then sees an end to clean up after. Its own end would do, too.
            with contextlib.suppress(AttributeError, ProcessLookupError):
                os.kill(self.leader, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._nspawn.wait(2)
            self._nspawn.kill()
            self._nspawn.wait()
        cgroups.empty(self._groups)

    @property
    def console(self) -> str:
        """The last lines that the machine wrote to its console."""
        return b"".join(self._console).decode(errors="replace")

    def _start(self, room: Room) -> subprocess.Popen[bytes]:
        # nspawn wants a terminal, and CI has none.
        master, slave = pty.openpty()
        join = "".join(f"echo $$ >{shlex.quote(str(group))}/cgroup.procs; " for group in self._groups)
        # The control groups are joined outside, as the mount namespace's own view of them is not the point;
        # --pdeathsig takes the machine down when the test process is killed.
        outer = ["setpriv", "--pdeathsig", "KILL", "sh", "-ec", join + 'exec "$@"', "sh"]
        network = f"--network-namespace-path=/proc/{room.pid}/ns/net"
        try:
            process = subprocess.Popen(
                [*outer, *room.enter(mounts=True, network=False), *_NSPAWN, network],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                start_new_session=True,
            )
        finally:
            os.close(slave)
        threading.Thread(target=self._read_console, args=(master,), daemon=True).start()
        return process

    def _read_console(self, master: int) -> None:
        with open(master, "rb", buffering=0) as terminal:
            while True:
                try:
                    self._console.append(terminal.read(4096))
                except OSError as error:
                    # EIO is how a terminal says that its other end is closed.
                    if error.errno == errno.EIO:
                        return
                    raise

    def _wait_for_leader(self, deadline: float) -> int:
        while time.monotonic() < deadline:
            if self._nspawn.poll() is not None:
                raise BootError(f"systemd-nspawn ended with {self._nspawn.returncode}:\n{self.console}")
            for child in children_of(self._nspawn.pid):
                if _takes_commands(child):
                    return child
            time.sleep(0.01)
        raise BootError(f"the machine did not come up in time; its console ends with:\n{self.console}")


def _takes_commands(leader: int) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISSOCK(os.stat(f"/proc/{leader}/root/run/systemd/private").st_mode)
    return False
