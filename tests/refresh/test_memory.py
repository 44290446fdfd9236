from __future__ import annotations

from pathlib import Path

import pytest

from secretsd.refresh.files.memory import judge, lists_swap, memory_kind

HEAD = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
25 22 0:22 / /run rw,nosuid - tmpfs tmpfs rw,size=1000k,mode=755
"""


def mount(point: str, filesystem: str, options: str) -> str:
    return f"40 25 0:40 / {point} rw,nosuid - {filesystem} none {options}\n"


NOSWAP = mount("/run/secretsd", "tmpfs", "rw,size=16384k,noswap")


@pytest.mark.parametrize("has_swap", [True, False])
@pytest.mark.parametrize("mounted", [NOSWAP, mount("/run/secretsd", "ramfs", "rw,mode=711")])
def test_memory_that_cannot_swap_needs_no_warning(mounted: str, has_swap: bool) -> None:
    kind = judge("/run/secretsd", HEAD + mounted, has_swap=has_swap)
    assert kind.is_memory
    assert kind.warning == ""


def test_a_tmpfs_that_can_reach_the_swap_is_warned_of() -> None:
    assert "swap" in judge("/run/secretsd", HEAD, has_swap=True).warning
    assert judge("/run/secretsd", HEAD, has_swap=False).warning == ""


def test_a_disk_is_warned_of_by_its_name() -> None:
    kind = judge("/var/lib/secretsd", HEAD, has_swap=False)
    assert not kind.is_memory
    assert "ext4" in kind.warning


def test_a_directory_beside_the_mount_is_not_taken_for_it() -> None:
    assert judge("/run/secretsd-other", HEAD + NOSWAP, has_swap=True).name == "tmpfs"


def test_what_was_mounted_last_over_the_same_place_counts() -> None:
    covered = HEAD + NOSWAP + mount("/run/secretsd", "xfs", "rw")
    assert judge("/run/secretsd", covered, has_swap=False).name == "xfs"


def test_an_option_that_only_looks_like_noswap_is_none() -> None:
    assert judge("/run/secretsd", HEAD + mount("/run/secretsd", "tmpfs", "rw,noswapx"), has_swap=True).warning


def test_a_mount_point_with_a_blank_is_found() -> None:
    assert judge("/a b/c", HEAD + mount("/a\\040b", "ramfs", "rw"), has_swap=True).name == "ramfs"


def test_a_link_to_a_disk_does_not_hide_it(tmp_path: Path) -> None:
    real = memory_kind(tmp_path)
    (tmp_path / "link").symlink_to("/proc/self")
    assert memory_kind(tmp_path / "link").name == "proc"
    assert real.name != "proc"


def test_a_kernel_without_swap_does_not_keep_the_daemon_from_starting(tmp_path: Path) -> None:
    swaps = tmp_path / "swaps"
    assert not lists_swap(swaps)
    swaps.write_text("Filename\tType\tSize\tUsed\tPriority\n")
    assert not lists_swap(swaps)
    with swaps.open("a") as file:
        file.write("/dev/vda2\tpartition\t1048572\t0\t-2\n")
    assert lists_swap(swaps)
