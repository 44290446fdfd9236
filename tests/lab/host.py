"""A lab machine: Debian with a real systemd, in a container, for one test.

    with Host("bookworm", deb=package) as host:
        host.put("/etc/secretsd/secretsd.toml", text)
        host.systemctl("restart", "secretsd")

It boots in about half a second over a read-only root, and leaves no process, mount or control group behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.canary.gate import GATE
from tests.canary.machine import WatchedMachine
from tests.lab import roots
from tests.lab.boot import Boot, BootError
from tests.lab.network import NamespaceNetwork
from tests.lab.processes import Process, end, processes_of
from tests.lab.room import Room

Finished = subprocess.CompletedProcess[str]

_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}
_ALL_NAMESPACES = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]


class CommandError(AssertionError):
    """A command in the machine failed; the text shows what it wrote."""


class Host:
    """One machine; boots in `__enter__`. All paths and users are those inside it."""

    def __init__(
        self, suite: str, *, deb: Path | None = None, booted: bool = True, boot_timeout_s: float = 60.0
    ) -> None:
        """`deb` is a package that the machine's disk has from the start; its units start as it boots.

        With `booted=False` `__enter__` makes only disk and network, and `power_on` boots.
        """
        self.suite = suite
        self._booted_at_once = booted
        self._boot_timeout_s = boot_timeout_s
        self._room = Room(roots.root(suite) if deb is None else roots.root_with(suite, deb))
        self._boot: Boot | None = None
        self._watched = WatchedMachine(self)
        self.put_there: set[str] = set()  # every file that a test has written with `put`
        self._spawned: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._room.__enter__()
        try:
            if self._booted_at_once:
                self.power_on()
        except BaseException:
            self._room.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        GATE.look_before_the_end(self._watched)
        GATE.release(self._watched)
        try:
            for process in self._spawned:
                end(process)
            if self._boot is not None:
                self._boot.power_off(timeout_s=10)
        finally:
            self._room.__exit__(kind, error, trace)

    # Commands

    def run(
        self,
        argv: Sequence[str],
        *,
        user: str | int | None = None,
        check: bool = True,
        timeout_s: float = 30.0,
        input: str | None = None,  # noqa: A002 - named as in subprocess
        env: Mapping[str, str] | None = None,
    ) -> Finished:
        """Runs a command to its end, as root or as `user` (name or uid), and returns what it wrote.

        `env` is added to a minimal environment. The command is outside every unit's control group, as one
        typed at a rescue shell. Raises CommandError (with `check`, an exit code other than 0) and
        subprocess.TimeoutExpired, on which the command has been killed.
        """
        command = [*self._enter(), *self._become(user), *argv]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**_ENVIRONMENT, **(env or {})},
            start_new_session=True,
        ) as process:
            try:
                stdout, stderr = (
                    _text(written) for written in process.communicate(_bytes(input or ""), timeout=timeout_s)
                )
            except BaseException:
                end(process)
                raise
        if check and process.returncode != 0:
            raise CommandError(
                f"{' '.join(argv)} ended with {process.returncode} on {self.suite}\n{stdout}{stderr}"
            )
        return subprocess.CompletedProcess(list(argv), process.returncode, stdout, stderr)

    def sh(self, script: str, *, user: str | int | None = None, check: bool = True) -> str:
        """Runs a line of shell and returns its standard output. Raises CommandError."""
        return self.run(["sh", "-c", script], user=user, check=check).stdout

    def start(self, argv: Sequence[str], *, user: str | int | None = None) -> subprocess.Popen[bytes]:
        """Starts a command in the machine and returns at once; it is killed with the machine."""
        return self._spawn([*self._enter(), *self._become(user), *argv], _ENVIRONMENT)

    def systemctl(self, *arguments: str, check: bool = True, timeout_s: float = 90.0) -> Finished:
        """As `run`; on failure the error also shows the journal's last lines."""
        done = self.run(["systemctl", "--no-pager", *arguments], check=False, timeout_s=timeout_s)
        if check and done.returncode != 0:
            tail = self.sh("journalctl --no-pager -o short-precise -n 40")
            raise CommandError(
                f"systemctl {' '.join(arguments)} ended with {done.returncode} on {self.suite}\n"
                f"{done.stdout}{done.stderr}{tail}"
            )
        return done

    def show(self, unit: str, property_name: str) -> str:
        """A unit's property, as `systemctl show --value` prints it."""
        return self.systemctl("show", "--value", "-p", property_name, unit).stdout.strip()

    def wait_active(self, unit: str, *, timeout_s: float = 15.0) -> None:
        """Returns when the unit is active. Raises CommandError when it fails or takes longer."""
        deadline = time.monotonic() + timeout_s
        while (state := self.show(unit, "ActiveState")) != "active":
            if state == "failed" or time.monotonic() > deadline:
                raise CommandError(f"{unit} is {state} on {self.suite}\n{self.journal(unit)}")
            time.sleep(0.02)

    def journal(self, unit: str | None = None) -> str:
        """All messages of a unit (None: of the machine) since the last boot, a line each."""
        self.run(["journalctl", "--sync"], check=False)
        only = [] if unit is None else [f"--unit={unit}"]
        return self.run(["journalctl", "--no-pager", "--boot", "--output=cat", *only]).stdout

    # Files

    def put(self, path: str, content: str | bytes, *, mode: int = 0o644, owner: str = "root:root") -> None:
        """Writes a file with that mode and `user:group`, and makes the directories above it."""
        user, _, group = owner.partition(":")
        text = content if isinstance(content, str) else _text(content)
        target = ["-m", f"{mode:o}", "-o", user, "-g", group or user, "/dev/stdin", path]
        self.run(["install", "-D", *target], input=text)
        self.put_there.add(path)

    def read(self, path: str) -> str:
        """A file's text; bytes that are not UTF-8 become surrogates. Raises CommandError."""
        return self.run(["cat", "--", path]).stdout

    def install(self, deb: Path) -> Finished:
        """dpkg -i, as an operator does it on the running machine. Raises CommandError."""
        # Through /proc and not `put`: a package is megabytes of bytes, not text.
        shutil.copyfile(deb, f"/proc/{self.leader}/root/root/{deb.name}")
        return self.run(["dpkg", "-i", f"/root/{deb.name}"], timeout_s=120)

    @property
    def watched(self) -> WatchedMachine:
        """As the canary gate sees it."""
        return self._watched

    @property
    def disk(self) -> Path:
        """What the machine has written to its disk (not its tmpfs mounts), seen from outside."""
        return self._room.disk

    # Network

    @property
    def network(self) -> NamespaceNetwork:
        """Where to make listening sockets for the machine to reach; it outlives reboots."""
        return self._room.network

    def spawn_in_network(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Starts a program of the test machine in this network; it is killed with the machine."""
        return self._spawn([*self._room.enter(mounts=False, network=True), *argv], os.environ)

    # Processes and power

    @property
    def leader(self) -> int:
        """The machine's PID 1, as a pid of the test machine."""
        return self._booted.leader

    def processes(self) -> list[Process]:
        """All processes of the machine with their pids outside and inside."""
        return processes_of(self.leader)

    def pid_outside(self, pid_inside: int) -> int:
        """The test machine's number of a process. Raises ProcessLookupError."""
        for process in self.processes():
            if process.pid_inside == pid_inside:
                return process.pid_outside
        raise ProcessLookupError(f"the machine has no process {pid_inside}")

    def reboot(self) -> None:
        """Shuts down in order and boots again: disk and network stay, everything in memory is gone."""
        GATE.look_before_the_end(self._watched)
        self._booted.power_off(timeout_s=30)
        self.power_on()

    def power_cycle(self) -> None:
        """As `reboot`, but every process dies at once, as in a power cut."""
        GATE.look_before_the_end(self._watched)
        self._booted.kill()
        self.power_on()

    @property
    def _booted(self) -> Boot:
        if self._boot is None:
            raise RuntimeError("the machine is not running: use it in a with statement")
        return self._boot

    def power_on(self) -> None:
        """Boots, and returns when the machine is up. Raises BootError."""
        self._boot = Boot(self._room, timeout_s=self._boot_timeout_s)
        done = self.run(
            ["systemctl", "is-system-running", "--wait"], check=False, timeout_s=self._boot_timeout_s
        )
        # "degraded" is a unit that failed, which may be what a test is about.
        if done.stdout.strip() not in ("running", "degraded"):
            console = self._boot.console
            self._boot.kill()
            raise BootError(f"{self.suite} came up as {done.stdout.strip()!r}; its console:\n{console}")
        GATE.watch(self._watched)

    def _enter(self) -> list[str]:
        # --pdeathsig inside as well: nsenter waits for a child in the machine, which must die with it.
        return [
            "nsenter",
            "--target",
            str(self.leader),
            *_ALL_NAMESPACES,
            "--",
            "setpriv",
            "--pdeathsig",
            "KILL",
        ]

    def _become(self, user: str | int | None) -> Iterator[str]:
        if user is None:
            return
        uid, gid = self._ids(user)
        # Without a name there is no line in /etc/group to take groups from.
        groups = "--init-groups" if isinstance(user, str) else "--clear-groups"
        yield from (f"--reuid={uid}", f"--regid={gid}", groups)

    def _ids(self, user: str | int) -> tuple[int, int]:
        if isinstance(user, int):
            return user, user
        line = self.run(["getent", "passwd", user]).stdout
        uid, gid = line.split(":")[2:4]
        return int(uid), int(gid)

    def _spawn(self, command: list[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL,
            env=dict(env),
            start_new_session=True,
        )
        self._spawned.append(process)
        return process


# By hand, not by subprocess: its text mode would turn CR LF into LF, and a file may hold any byte.
def _text(written: bytes) -> str:
    return written.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
