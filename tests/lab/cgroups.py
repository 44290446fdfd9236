"""A control group of its own for each lab machine, on v1, hybrid and v2 layouts, gone afterwards.

systemd-nspawn with --keep-unit makes `payload` and `supervisor` below the group it is started in: two
machines in one group would be one tree.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

_PREFIX = "secretsd-lab-"
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


def make(name: str) -> list[Path]:
    """New empty groups called `name` below our own, one a hierarchy. Raises OSError."""
    made = []
    for parent in own_groups():
        group = parent / f"{_PREFIX}{os.getpid()}-{name}"
        group.mkdir()
        made.append(group)
    return made


def remove(groups: list[Path], *, timeout_s: float = 5.0) -> None:
    """Takes the groups away; what still runs in them is killed first. Raises TimeoutError."""
    deadline = time.monotonic() + timeout_s
    while not all(_remove_tree(group) for group in groups):
        if time.monotonic() > deadline:
            raise TimeoutError(f"control groups are still in use: {groups}")
        time.sleep(0.02)


def sweep() -> None:
    """Removes the groups of test processes that were killed before they could."""
    for parent in own_groups():
        for group in parent.glob(f"{_PREFIX}*"):
            owner = group.name.removeprefix(_PREFIX).split("-")[0]
            if not Path(f"/proc/{owner}").exists():
                # Another test process may be sweeping the same group.
                with contextlib.suppress(TimeoutError, OSError):
                    remove([group], timeout_s=1.0)


def _remove_tree(group: Path) -> bool:
    if not group.exists():
        return True
    for directory, _, _ in os.walk(group, topdown=False):
        _kill_members(Path(directory))
        with contextlib.suppress(OSError):
            os.rmdir(directory)
    return not group.exists()


def _kill_members(group: Path) -> None:
    with contextlib.suppress(OSError):
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), 9)


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
