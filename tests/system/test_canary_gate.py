"""What the canary gate sees of a machine: all that is planted there; and that no daemon leaves a core."""

from __future__ import annotations

import gzip

import pytest

from tests.canary.gate import GATE
from tests.canary.spellings import MARKER, needles
from tests.canary.tally import Tally
from tests.system.machine import Machine, eventually, on_bookworm

pytestmark = pytest.mark.system

# In the control group of secretsd.service, as a child of the daemon's would be.
_LEAKING = """
import os, sys, time
group = open(f"/proc/{sys.argv[1]}/cgroup").read().splitlines()[-1].partition("::")[2]
open(f"/sys/fs/cgroup{group}/cgroup.procs", "w").write(str(os.getpid()))
os.environ["LEAKED"] = sys.argv[2]
os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", sys.argv[2]], os.environ)
"""
_STATE = "/var/lib/secretsd"
_PLANTED_FILES = {
    f"{_STATE}/audit/refresher.jsonl.aside-0": "raw",
    f"{_STATE}/alerts.json": "raw",
    "/var/lib/secretsd-signer/audit/signer.jsonl": "raw",
    "/var/lib/secretsd-shipper/batch.gz": "gzip, raw",
    "/var/tmp/core": "raw",
}


@on_bookworm
def test_what_is_planted_on_a_machine_is_found_in_every_place(machine: Machine) -> None:
    machine.add_bot("bot", MARKER)
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    watched = machine.host.watched
    tally = Tally()
    assert list(watched.traces(needles(), tally)) == [], "what the daemons themselves leave"
    assert tally.processes >= 3, "conductor, zygote, notify helper"
    assert tally.answers >= 5

    # From here on this machine is no finding of the test: it has to be found by what follows.
    GATE.release(watched)
    for path, form in _PLANTED_FILES.items():
        content = gzip.compress(MARKER.encode()) if form.startswith("gzip") else MARKER.encode()
        machine.host.put(path, content)
        machine.host.put_there.discard(path)
    machine.host.sh(f"echo {MARKER} | systemd-cat -t secretsd")
    machine.host.sh(f"logger --journald <<END\nMESSAGE=planted in a field\nSECRETSD_SECRET={MARKER}\nEND")
    machine.host.sh(
        f"echo {MARKER} > /run/secretsd/.copies/bot/1/record.json; echo {MARKER} > /run/secretsd/x"
    )
    machine.host.put("/root/leaking.py", _LEAKING)
    pid = machine.main_pid("secretsd")
    machine.host.start(["python3", "/root/leaking.py", str(pid), MARKER])

    expected = {f"disk:{path} ({form})" for path, form in _PLANTED_FILES.items()}
    expected |= {f"{place} of conductor (raw)" for place in ("cmdline", "environ", "memory")}
    expected |= {"journal (raw)", "/run/secretsd/.copies/bot/1/record.json (raw)", "/run/secretsd/x (raw)"}
    eventually(
        lambda: {str(trace) for trace in watched.traces(needles(), Tally())} >= expected,
        "all that was planted is found",
    )


@on_bookworm
def test_what_a_living_daemon_tells_by_itself_is_found_in_each_of_its_answers(machine: Machine) -> None:
    """A bundle's name is no secret: it is in metrics, health, status, log and trail alike, as it must be."""
    GATE.release(machine.host.watched)
    machine.add_bot(MARKER, None, None)
    machine.restart_secretsd()
    assert machine.reload_secretsd() != 0
    found = {str(trace) for trace in machine.host.watched.traces(needles(), Tally())}
    places = ("/metrics", "/readyz?json", "status", "memory")
    wanted = {f"{place} of conductor (raw)" for place in places}
    assert found >= wanted | {"journal (raw)", f"disk:{_STATE}/audit/refresher.jsonl (raw)"}, found


@on_bookworm
def test_an_abort_of_a_long_lived_process_leaves_no_core_and_that_of_another_does(machine: Machine) -> None:
    machine.host.run(["/usr/libexec/secretsd/setup-softhsm"], timeout_s=120)
    machine.host.put("/etc/secretsd/conf.d/audit.toml", "[audit.journal]\n")
    machine.add_bot("bot", MARKER)
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot", "secretsd-shipper")
    machine.rotate("bot", f"{MARKER}-2")
    assert machine.reload_secretsd() == 0
    zygote = [
        pid for pid in machine.children(machine.main_pid("secretsd")) if "zygote" in _command(machine, pid)
    ]
    assert len(zygote) == 1
    machine.host.run(["kill", "-ABRT", str(zygote[0])])
    units = ("secretsd", "secretsd-notify", "secretsd-signer", "secretsd-shipper")
    for unit in units:
        pid = machine.main_pid(unit)
        assert pid, unit
        machine.host.run(["kill", "-ABRT", str(pid)])
        eventually(lambda unit=unit, pid=pid: machine.main_pid(unit) != pid, f"{unit} has ended")
        assert "code=killed, status=6/ABRT" in machine.host.journal(unit)
        assert "code=dumped" not in machine.host.journal(unit), unit

    machine.host.put("/root/dies.py", f"import os; kept = '{MARKER}'; os.abort()")
    options = ["-p", "LimitCORE=infinity", "-p", "WorkingDirectory=/var/tmp", "--unit=dumped"]
    machine.host.run(["systemd-run", *options, "/usr/bin/python3", "/root/dies.py"])
    eventually(lambda: "code=dumped" in machine.host.journal("dumped"), "this one leaves a core")
    (core,) = machine.host.sh("ls /var/tmp/core*").split()
    assert [str(trace) for trace in machine.host.watched.traces(needles(), Tally())] == [f"disk:{core} (raw)"]
    # Whatever a core of the others would have had in it, there is none.
    assert machine.host.sh("find / -xdev -type f -name 'core*' -size +1M").split() == [core]
    GATE.release(machine.host.watched)


def _command(machine: Machine, pid: int) -> str:
    return machine.host.sh(f"cat /proc/{pid}/cmdline 2>/dev/null || true")
