"""A systemd that stands in files: a `systemctl` that answers from them and writes down how it was called."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

UNIT = "trading-bot.service"
INVOCATION = "0123456789abcdef0123456789abcdef"
NEXT_INVOCATION = "f" * 32

# The shell has no children that could outlive it: sleep replaces it, under the number that was written down.
_SYSTEMCTL = r"""#!/bin/sh
here=${0%/*}
printf '%s\n' "$*" >> "$here/calls"
env > "$here/environment"
for word in "$@"; do
    case $word in show|reload|try-restart|reset-failed) verb=$word ;; esac
done
case $0 in *systemd-run) verb=run; printf '%s\0' "$@" > "$here/run" ;; esac
if [ "$verb" = show ] && [ ! -e "$here/show.code" ]; then
    set -- "$here"/state.*
    cat "$1"
    [ $# -eq 1 ] || rm "$1"
    exit 0
fi
if [ -e "$here/$verb.stderr" ]; then cat "$here/$verb.stderr" >&2; fi
if [ -e "$here/$verb.sleep" ]; then echo $$ >> "$here/sleepers"; exec sleep "$(cat "$here/$verb.sleep")"; fi
if [ -e "$here/$verb.then" ]; then rm "$here"/state.*; cp "$here/$verb.then" "$here/state.0"; fi
if [ -e "$here/$verb.code" ]; then exit "$(cat "$here/$verb.code")"; fi
"""

# What systemd 252 answers for a healthy Type=notify service.
_RUNNING = {
    "Type": "notify",
    "MainPID": "4711",
    "NRestarts": "0",
    "ExecMainStartTimestampMonotonic": "50020000",
    "ExecMainExitTimestampMonotonic": "0",
    "ExecMainCode": "0",
    "ExecMainStatus": "0",
    "Result": "success",
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "InactiveExitTimestampMonotonic": "50000000",
    "CanReload": "yes",
    "InvocationID": INVOCATION,
}


def shown(**changes: object) -> str:
    """The output of `systemctl show` for a unit that started at 50 s, with some properties changed."""
    properties = {**_RUNNING, **{key: str(value) for key, value in changes.items()}}
    return "".join(f"{key}={value}\n" for key, value in properties.items())


@dataclass(frozen=True, slots=True)
class FakeSystemd:
    """`directory` holds the program and its answers."""

    directory: Path

    @classmethod
    def at(cls, directory: Path) -> FakeSystemd:
        for name in ("systemctl", "systemd-run"):
            (directory / name).write_text(_SYSTEMCTL)
            (directory / name).chmod(0o755)
        fake = cls(directory)
        fake.shows(shown())
        return fake

    @property
    def systemctl(self) -> str:
        return str(self.directory / "systemctl")

    @property
    def systemd_run(self) -> str:
        return str(self.directory / "systemd-run")

    @property
    def run(self) -> list[str]:
        """The words of the last systemd-run."""
        return (self.directory / "run").read_text().split("\0")[:-1]

    def shows(self, *states: str) -> None:
        """Each look gets the next of `states`; the last one stays."""
        for old in self.directory.glob("state.*"):
            old.unlink()
        for number, state in enumerate(states):
            (self.directory / f"state.{number}").write_text(state)

    def fails(self, verb: str, *, code: int, stderr: str) -> None:
        (self.directory / f"{verb}.code").write_text(str(code))
        (self.directory / f"{verb}.stderr").write_text(stderr)

    def hangs(self, verb: str, *, seconds: float) -> None:
        (self.directory / f"{verb}.sleep").write_text(str(seconds))

    def end(self) -> None:
        """Ends the jobs that still hang."""
        file = self.directory / "sleepers"
        for pid in map(int, file.read_text().split() if file.exists() else []):
            with contextlib.suppress(OSError):
                pidfd = os.pidfd_open(pid)
                if Path(f"/proc/{pid}/comm").read_text() == "sleep\n":
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                os.close(pidfd)

    def becomes(self, state: str, *, after: str) -> None:
        """The unit is in `state` once the verb `after` was carried out."""
        (self.directory / f"{after}.then").write_text(state)

    @property
    def calls(self) -> list[str]:
        """The arguments of each call."""
        file = self.directory / "calls"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def jobs(self) -> list[str]:
        """The calls that were not looks."""
        return [call for call in self.calls if not {"show", "reset-failed"} & set(call.split())]

    @property
    def environment(self) -> dict[str, str]:
        lines = (self.directory / "environment").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)
