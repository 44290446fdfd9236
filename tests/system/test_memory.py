"""The memory that published files lie on: its kind, what happens when it is used up, and never a disk."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

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


def _spellings(canary: str) -> Iterator[bytes]:
    raw = canary.encode()
    yield raw
    yield raw.hex().encode()
    # Base64 has three spellings, by where the canary stands; the middle is the same whatever surrounds it.
    for offset in range(3):
        yield base64.b64encode(b"x" * offset + raw)[4:-4]
    yield canary.encode("utf-16-le")


def _found_on_disk(machine: Machine, canary: str) -> set[str]:
    found = set()
    for spelling in _spellings(canary):
        command = ["grep", "--recursive", "--files-with-matches", "--text", "--perl-regexp"]
        escaped = "".join(f"\\x{byte:02x}" for byte in spelling)
        done = subprocess.run(
            [*command, escaped, str(machine.host.disk)], capture_output=True, text=True, check=False
        )
        found |= {line.removeprefix(str(machine.host.disk)) for line in done.stdout.splitlines()}
    return found


@on_bookworm
def test_no_value_is_ever_on_the_machines_disk(machine: Machine) -> None:
    canary = "FakeCanaryWqJ7xZ2mP9"
    # Persistent, so that whatever reaches the journal reaches the disk.
    machine.host.sh("mkdir -p /var/log/journal && journalctl --flush")
    machine.add_bot("bot", f"{canary}-1")
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    machine.rotate("bot", f"{canary}-2")
    assert machine.reload_secretsd() == 0
    # What goes wrong is what gets logged.
    for value in (f'["{canary}"]', f'{{"API_KEY": {{"{canary}": 1}}}}', f'{{"API_KEY": "{canary}\\u0000"}}'):
        machine.aws.put("bot/production", value)
        assert machine.secretsctl("reload")[0] == 65
    machine.kill(machine.main_pid("secretsd"))
    machine.rotate("bot", f"{canary}-deadly")
    machine.host.systemctl("reset-failed", "secretsd")
    machine.host.systemctl("start", "secretsd")
    machine.reload_secretsd()

    planted = "/var/tmp/planted"
    machine.host.put(planted, base64.b64encode(f"-{canary}-".encode()))
    machine.host.sh(f"logger planted {canary.encode().hex()}; journalctl --sync")
    found = _found_on_disk(machine, canary)
    journals = {path for path in found if path.startswith("/var/log/journal/")}
    assert journals, "the journal is on the disk, and searched"
    assert found == {planted} | journals
    # The line that was planted is the only one.
    assert machine.host.sh("journalctl --no-pager -o cat").count(canary.encode().hex()) == 1
    assert canary not in machine.host.sh("journalctl --no-pager -o export")
