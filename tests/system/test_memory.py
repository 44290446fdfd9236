"""The memory that published files lie on: its kind, what happens when it is used up, and never a disk."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.canary.spellings import MARKER
from tests.system.machine import Machine, on_bookworm

pytestmark = pytest.mark.system

_DIR = "/run/secretsd"
_FILE = f"stat -L -c '%i %Z' {_DIR}/bot/env; cat {_DIR}/bot/env; readlink {_DIR}/bot"


def _memory(machine: Machine) -> str:
    return str(json.loads(machine.host.run(["secretsctl", "status", "--json"]).stdout)["daemon"]["memory"])


# A kernel without noswap, as mount(8) tells of it.
_OLD_MOUNT = """#!/bin/sh
case "$*" in
*noswap*) echo "mount: bad option" >&2; exit 32 ;;
esac
exec /usr/bin/mount "$@"
"""


def test_files_are_on_memory_that_cannot_swap_and_status_names_it(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1", None)
    machine.restart_secretsd()
    mounted = machine.host.sh(f"findmnt -no FSTYPE,OPTIONS {_DIR}")
    assert mounted.startswith("tmpfs ")
    assert "noswap" in mounted
    assert {"nosuid", "nodev", "noexec"} <= set(mounted.split()[1].split(","))
    assert _memory(machine) == "tmpfs noswap"
    assert "tmpfs noswap" in machine.secretsctl("status")[1]

    machine.host.put("/usr/local/sbin/mount", _OLD_MOUNT, mode=0o755)
    machine.host.systemctl("stop", "secretsd", "secretsd-runtime")
    machine.host.run(["umount", _DIR])
    machine.host.systemctl("start", "secretsd")
    assert machine.host.sh(f"findmnt -no FSTYPE {_DIR}").strip() == "ramfs"
    assert _memory(machine) == "ramfs"
    assert machine.host.sh(f"stat -c '%a %U' {_DIR}").strip() == "711 secretsd"
    assert machine.host.sh(f"stat -L -c '%a %U' {_DIR}/bot/env").strip() == "600 bot"


@dataclass(frozen=True, slots=True)
class _Trouble:
    """How the runtime directory gets into it and out of it, and what is said."""

    begin: str
    end: str
    code: str
    message: str


_TROUBLES = (
    _Trouble(
        f"dd if=/dev/zero of={_DIR}/filler bs=4k status=none || true",
        f"rm {_DIR}/filler",
        "no-space",
        "is full",
    ),
    _Trouble(
        f"mkdir {_DIR}/fillers; cd {_DIR}/fillers; seq 40000 | xargs touch 2>/dev/null || true",
        f"rm -r {_DIR}/fillers",
        "no-space",
        "is full",
    ),
    _Trouble(f"mount -o remount,ro {_DIR}", f"mount -o remount,rw {_DIR}", "read-only", "is read-only"),
)


@on_bookworm
def test_runtime_directory_full_without_inodes_or_read_only_keeps_the_old_bundle(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-0")
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    for number, trouble in enumerate(_TROUBLES, start=1):
        before = machine.host.sh(_FILE)
        machine.rotate("bot", f"fake-key-{number}")
        machine.host.sh(trouble.begin)
        code, said = machine.secretsctl("reload")
        assert code == 74, said
        assert machine.host.sh(_FILE) == before
        (failure,) = machine.status("bot")["failures"]
        assert (failure["failure_class"], failure["code"]) == ("io", trouble.code)
        assert trouble.message in failure["message"]
        assert trouble.message in said
        assert machine.secretsctl("wait", "bot")[0] == 0
        machine.host.sh(trouble.end)
        assert machine.reload_secretsd() == 0
        assert machine.seen("bot")[-1] == f"reload fake-key-{number}"
    assert not machine.host.sh(f"find {_DIR} -name '.new-*'")


@on_bookworm
def test_no_value_is_ever_on_the_machines_disk(machine: Machine) -> None:
    # Persistent, so that whatever reaches the journal reaches the disk.
    machine.host.sh("mkdir -p /var/log/journal && journalctl --flush")
    machine.add_bot("bot", f"{MARKER}-1")
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    machine.rotate("bot", f"{MARKER}-2")
    assert machine.reload_secretsd() == 0
    # What goes wrong is what gets logged.
    for value in (f'["{MARKER}"]', f'{{"API_KEY": {{"{MARKER}": 1}}}}', f'{{"API_KEY": "{MARKER}\\u0000"}}'):
        machine.aws.put("bot/production", value)
        assert machine.secretsctl("reload")[0] == 65
    machine.kill(machine.main_pid("secretsd"))
    machine.rotate("bot", f"{MARKER}-deadly")
    machine.host.systemctl("reset-failed", "secretsd")
    machine.host.systemctl("start", "secretsd")
    machine.reload_secretsd()
    # That nothing of it is on the disk is for the canary gate to see, of this test as of every other.
    assert machine.host.sh("ls /var/log/journal/*/*.journal")
