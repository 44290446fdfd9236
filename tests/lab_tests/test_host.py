"""A lab machine is a real Debian with a real systemd, and is gone without a trace afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab import cgroups
from tests.lab.host import CommandError, Host
from tests.lab.lab import Lab
from tests.lab.processes import is_alive

pytestmark = pytest.mark.system

VERSION = {"bookworm": "12", "trixie": "13"}
UNIT = """
[Service]
User=nobody
ExecStart=/usr/bin/sleep infinity
ProtectSystem=strict
ProtectProc=invisible
PrivateTmp=yes
RuntimeDirectory=lab-unit
SystemCallFilter=@system-service
MemorySwapMax=0
"""
FAILING_UNIT = """
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo no luck; exit 1'
"""
MEMORY_MOUNTS = """
set -e
mount -t tmpfs -o noswap,size=1m secrets /mnt
findmnt -n -o FSTYPE,OPTIONS /mnt
umount /mnt
mount -t ramfs secrets /mnt
findmnt -n -o FSTYPE /mnt
umount /mnt
"""
FETCH = """
import json, sys, urllib.request
def ask(url, method="GET", body=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=5).read()
imds = "http://169.254.169.254/latest/"
token = ask(imds + "api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="60").decode()
role = ask(imds + "meta-data/iam/security-credentials/", X_aws_ec2_metadata_token=token).decode()
body = json.dumps({"SecretId": "prod/app", "VersionStage": "AWSCURRENT"}).encode()
authorization = "AWS4-HMAC-SHA256 Credential=AKIAFAKE/20260101/us-east-1/secretsmanager/aws4_request"
answer = ask(sys.argv[1], "POST", body, X_Amz_Target="secretsmanager.GetSecretValue",
    Content_Type="application/x-amz-json-1.1", Authorization=authorization)
print(role, json.loads(answer)["SecretString"])
"""


def groups_of(test_pid: int) -> list[str]:
    """The control groups of machines that this test process has started."""
    return [str(g) for own in cgroups.own_groups() for g in own.glob(f"{cgroups.PREFIX}{test_pid}-*")]


def traces_of_machines() -> list[str]:
    """Mounts, control groups and processes of lab machines on this machine, as lines of text."""
    mounts = [
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "secretsd-lab" in line
    ]
    processes = subprocess.run(
        ["pgrep", "--list-full", "--parent", str(os.getpid()), "systemd-nspawn|unshare|nsenter|sh|cat"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    return [*mounts, *groups_of(os.getpid()), *processes]


def test_it_boots_the_right_release_to_running(host: Host, suite: str) -> None:
    assert f'VERSION_ID="{VERSION[suite]}"' in host.read("/etc/os-release")
    assert host.systemctl("is-system-running").stdout == "running\n"
    assert host.systemctl("list-units", "--failed", "--no-legend").stdout == ""


def test_commands_run_as_root_and_as_others(host: Host) -> None:
    assert host.sh("id -u; id -g; pwd").split() == ["0", "0", "/"]
    assert host.sh("id -un; id -gn", user="nobody").split() == ["nobody", "nogroup"]
    assert host.run(["id", "-u"], user=65534).stdout == "65534\n"
    assert host.run(["cat"], input="one\r\ntwo").stdout == "one\r\ntwo"
    assert host.run(["sh", "-c", 'echo "$GREETING"'], env={"GREETING": "hello"}).stdout == "hello\n"
    with pytest.raises(CommandError, match="ended with 3"):
        host.sh("exit 3")
    assert host.run(["false"], check=False).returncode == 1


def test_a_command_that_takes_too_long_is_dead_afterwards(host: Host) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        host.run(["sh", "-c", "sleep 1234 & sleep 1234"], timeout_s=0.3)
    deadline = time.monotonic() + 2
    while any("1234" in process.argv for process in host.processes()):
        assert time.monotonic() < deadline, "the command outlived its timeout"


def test_files_get_their_owner_and_mode(host: Host) -> None:
    host.put("/etc/lab/file", b"fake\x00\xff\r\n", mode=0o600, owner="nobody:nogroup")
    assert host.sh("stat -c '%U %G %a' /etc/lab/file") == "nobody nogroup 600\n"
    assert host.read("/etc/lab/file").encode("utf-8", "surrogateescape") == b"fake\x00\xff\r\n"
    assert (host.disk / "etc/lab/file").exists()


def test_units_start_in_their_sandbox(host: Host) -> None:
    host.put("/etc/systemd/system/lab.service", UNIT)
    host.systemctl("daemon-reload")
    host.systemctl("start", "lab.service")
    host.wait_active("lab.service")
    assert "lab.service" in host.journal("lab.service")
    assert "Overall exposure level" in host.run(["systemd-analyze", "security", "lab.service"]).stdout

    inside = int(host.show("lab.service", "MainPID"))
    outside = host.pid_outside(inside)
    assert Path(f"/proc/{outside}/comm").read_text() == "sleep\n"
    assert [p.uid for p in host.processes() if p.pid_outside == outside] == [65534]


def test_a_unit_that_fails_is_reported_with_its_journal(host: Host) -> None:
    host.put("/etc/systemd/system/bad.service", FAILING_UNIT)
    host.systemctl("daemon-reload")
    host.systemctl("start", "bad.service", check=False)
    with pytest.raises(CommandError, match="no luck"):
        host.wait_active("bad.service")


def test_memory_that_cannot_swap_can_be_mounted_by_units(host: Host) -> None:
    host.put("/usr/local/bin/mounts", MEMORY_MOUNTS, mode=0o755)
    done = host.run(["systemd-run", "--pipe", "--wait", "--quiet", "sh", "/usr/local/bin/mounts"])
    assert "noswap" in done.stdout
    assert done.stdout.endswith("ramfs\n")


def test_a_reboot_keeps_the_disk_and_forgets_memory(host: Host) -> None:
    host.sh("echo kept >/var/kept; echo lost >/run/lost")
    first_boot = host.read("/proc/sys/kernel/random/boot_id") + str(host.leader)
    host.reboot()
    assert str(host.leader) not in first_boot
    assert host.read("/var/kept") == "kept\n"
    assert host.run(["test", "-e", "/run/lost"], check=False).returncode == 1


def test_a_power_cut_keeps_the_disk_too(host: Host) -> None:
    host.sh("echo kept >/var/kept; echo lost >/run/lost")
    host.power_cycle()
    assert host.sh("cat /var/kept; ls /run/lost 2>&1", check=False).startswith("kept\nls: cannot access")


def test_aws_and_imds_answer_in_its_network_and_survive_a_reboot(lab: Lab) -> None:
    lab.aws.create("prod/app", "fake-value")
    for _ in range(2):
        assert lab.host.run(["python3", "-c", FETCH, lab.proxy.url]).stdout == "lab-role fake-value\n"
        lab.host.reboot()
    assert lab.proxy.counts == {"GetSecretValue": 2}
    assert lab.imds.requests == {"token": 2, "role": 2}


def test_the_network_is_the_machines_own(host: Host) -> None:
    here = os.readlink("/proc/self/ns/net")
    process = host.spawn_in_network(["sleep", "infinity"])
    deadline = time.monotonic() + 2
    while os.readlink(f"/proc/{process.pid}/ns/net") == here:
        assert time.monotonic() < deadline, "the program is not in the machine's network"
        time.sleep(0.01)
    assert host.sh("ip -brief link").split()[0] == "lo"
    assert host.sh("ip route") == ""


def test_three_cycles_leave_nothing_behind(suite: str) -> None:
    before = traces_of_machines()
    for cycle in range(3):
        with Host(suite) as host:
            host.start(["sleep", "infinity"])
            host.spawn_in_network(["sleep", "infinity"])
            leader, room = host.leader, host.network.pid
            # The search must find what is there, or finding nothing means nothing.
            assert len(traces_of_machines()) > len(before), cycle
        assert traces_of_machines() == before
        assert not is_alive(leader)
        assert not is_alive(room)


def test_a_machine_whose_test_is_killed_goes_with_it(suite: str) -> None:
    script = (
        "import time\nfrom tests.lab.host import Host\n"
        f"with Host({suite!r}) as host:\n"
        "    print(host.leader, host.network.pid, flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as test:
        assert test.stdout is not None
        pids = test.stdout.readline().split()
        test.send_signal(signal.SIGKILL)
    assert len(pids) == 2
    deadline = time.monotonic() + 5
    while any(is_alive(int(pid)) for pid in pids):
        assert time.monotonic() < deadline, "the machine outlived its test"
        time.sleep(0.02)
    assert groups_of(test.pid) == []
