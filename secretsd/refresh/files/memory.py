"""What kind of memory the runtime directory is on: whether secrets there can reach a disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MemoryKind:
    """`name` is for people ("tmpfs noswap"); `warning` is empty where no secret can reach a disk."""

    name: str
    is_memory: bool
    warning: str = ""


def memory_kind(directory: Path) -> MemoryKind:
    """Reads /proc/self/mountinfo and /proc/swaps. Raises: OSError."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    return judge(os.path.realpath(directory), mounts, has_swap=lists_swap(Path("/proc/swaps")))


def lists_swap(swaps: Path) -> bool:
    """Whether /proc/swaps lists anything; a kernel without CONFIG_SWAP has no such file. Raises: OSError."""
    try:
        return len(swaps.read_text(encoding="utf-8").splitlines()) > 1
    except FileNotFoundError:
        return False


def judge(directory: str, mountinfo: str, *, has_swap: bool) -> MemoryKind:
    """Pure. `mountinfo` is proc_pid_mountinfo(5)'s text; the last mount that covers `directory` counts."""
    covering = ("", "unknown", "")
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        mount_point = left.split()[4].replace("\\040", " ")
        filesystem, _, super_options = right.split(" ", 2)
        if _covers(mount_point, directory) and len(mount_point) >= len(covering[0]):
            covering = (mount_point, filesystem, super_options)
    _, filesystem, options = covering
    if filesystem == "ramfs":
        return MemoryKind("ramfs", is_memory=True)
    if filesystem == "tmpfs" and "noswap" in options.split(","):
        return MemoryKind("tmpfs noswap", is_memory=True)
    if filesystem == "tmpfs":
        warning = "secrets can reach the swap: it is a tmpfs without noswap" if has_swap else ""
        return MemoryKind(
            "tmpfs" if has_swap else "tmpfs, no swap on this host", is_memory=True, warning=warning
        )
    return MemoryKind(
        filesystem, is_memory=False, warning=f"secrets are on a disk: {directory} is on {filesystem}"
    )


def _covers(mount_point: str, directory: str) -> bool:
    return mount_point == "/" or directory == mount_point or directory.startswith(mount_point + "/")
