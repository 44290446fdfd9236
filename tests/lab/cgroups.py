"""A control group of its own for each lab machine, on v1, hybrid and v2 layouts.

systemd-nspawn with --keep-unit makes `payload` and `supervisor` below the group it is started in: two
machines in one group would be one tree.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from pathlib import Path

PREFIX = "secretsd-lab-"
_V2 = "0"
_SYSTEMD_V1 = "name=systemd"


def own_groups() -> list[Path]:
    """This process's own directory in each hierarchy that systemd uses."""
    mounts = _mount_points()
    groups = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        hierarchy = _V2 if number == _V2 else controllers
        if hierarchy in mounts:
            groups.append(mounts[hierarchy] / path.lstrip("/"))
    return groups


def make() -> list[Path]:
    """New empty groups below our own, one a hierarchy; their names hold our pid. Raises OSError."""
    name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    made = [parent / name for parent in own_groups()]
    for group in made:
        group.mkdir()
    return made


def empty(groups: list[Path], *, timeout_s: float = 5.0) -> None:
    """Kills all that runs in the groups and removes their children. Raises TimeoutError."""
    deadline = time.monotonic() + timeout_s
    while not all(_is_emptied(group) for group in groups):
        if time.monotonic() > deadline:
            raise TimeoutError(f"control groups are still in use: {groups}")
        time.sleep(0.02)


def remove(groups: list[Path]) -> None:
    """Empties the groups and takes them away. Raises TimeoutError, OSError."""
    empty(groups)
    for group in groups:
        group.rmdir()


def _is_emptied(group: Path) -> bool:
    alive = False
    for directory, _, _ in os.walk(group, topdown=False):
        members = Path(directory, "cgroup.procs").read_text().split()
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        alive = alive or bool(members)
        if directory != str(group):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
    return not alive and not any(child.is_dir() for child in group.iterdir())


def _mount_points() -> dict[str, Path]:
    points: dict[str, Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        mount_root, mount_point = left.split()[3:5]
        kind, _, options = right.split(" ", 2)
        if mount_root != "/":
            continue
        if kind == "cgroup2":
            points[_V2] = Path(mount_point)
        elif kind == "cgroup" and _SYSTEMD_V1 in options.split(","):
            points[_SYSTEMD_V1] = Path(mount_point)
    return points
