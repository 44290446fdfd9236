"""Who may do what: the sockets, the files, and what is left to a daemon in the wrong hands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.system.machine import Machine, eventually, on_bookworm

pytestmark = pytest.mark.system

_NOBODY = 65534
_PROBE = Path(__file__).parent / "probe.py"

# Every command, on a bundle of its own user's and on the other's.
_COMMANDS = {
    "status": ["status"],
    "status own": ["status", "bot"],
    "status other": ["status", "other"],
    "wait own": ["wait", "bot"],
    "wait other": ["wait", "other"],
    "wait unknown": ["wait", "unknown"],
    "ack own": ["ack", "bot", "1"],
    "ack other": ["ack", "other", "1"],
    "plan": ["plan"],
    "plan own": ["plan", "bot"],
    "reload own": ["reload", "bot"],
    "reload": ["reload"],
}
_OWNERS = {"status", "status own", "wait own", "ack own"}
_ADMINS = _COMMANDS.keys() - {"wait unknown"}


@on_bookworm
def test_control_socket_lets_owners_see_their_bundle_admins_do_all_and_nobody_else_anything(
    machine: Machine,
) -> None:
    machine.add_bot("bot", "fake-key-1", None)
    machine.add_bot("other", "fake-key-1", None)
    machine.host.sh("useradd --system --groups secretsd-admin admin")
    machine.restart_secretsd()
    users: dict[str | int | None, set[str]] = {
        _NOBODY: set(),
        "bot": _OWNERS,
        "other": {"status", "status other", "wait other", "ack other"},
        "admin": set(_ADMINS),
        None: set(_ADMINS),
    }
    for user, allowed in users.items():
        codes = {what: machine.secretsctl(*command, user=user)[0] for what, command in _COMMANDS.items()}
        refused = 64 if user in ("admin", None) else 77
        assert codes == {what: 0 if what in allowed else refused for what in _COMMANDS}, f"as {user}"
    for user in ("bot", "other"):
        shown = json.loads(machine.host.run(["secretsctl", "status", "--json"], user=user).stdout)
        assert list(shown["bundles"]) == [user]
    assert "control request refused" in machine.host.journal("secretsd")


_ASK = """
import contextlib, socket, sys
peer = socket.socket(socket.AF_UNIX)
try:
    peer.connect("/run/secretsd-notify.sock")
except OSError as error:
    sys.exit(type(error).__name__)
with contextlib.suppress(BrokenPipeError):  # who may not ask is refused before the question is read
    peer.sendall(sys.argv[1].encode() + b"\\n")
print(peer.makefile().readline())
"""


@on_bookworm
def test_notify_socket_serves_the_daemon_alone_and_only_what_root_has_configured(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1")
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    machine.host.put("/usr/local/lib/ask.py", _ASK)

    def ask(unit: str, become: list[str]) -> str:
        request = {"operation": "act", "bundle": "bot", "unit": unit, "generation": 9}
        text = json.dumps({**request, "published_monotonic": 1e9})
        done = machine.host.run(
            ["setpriv", *become, "python3", "-I", "/usr/local/lib/ask.py", text], check=False
        )
        return done.stdout + done.stderr

    for user in (_NOBODY, "bot"):
        assert "PermissionError" in ask(
            "bot.service", [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        )
    # The group alone opens the file, and is not enough.
    in_group = ["--reuid=bot", "--regid=secretsd", "--clear-groups"]
    assert '"refused"' in ask("bot.service", in_group)
    daemon = ["--reuid=secretsd", "--regid=secretsd", "--clear-groups"]
    assert '"not-configured"' in ask("dbus.service", daemon)
    assert machine.seen("bot") == ["start fake-key-1"]
    assert '"acted"' in ask("bot.service", daemon)
    eventually(lambda: len(machine.seen("bot")) == 2, "what is configured is done")


@on_bookworm
def test_published_files_are_out_of_reach_for_everyone_but_their_owner(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1", None)
    machine.add_bot("other", "fake-key-1", None)
    machine.restart_secretsd()
    generation = "/run/secretsd/.generations/bot/1"
    attempts = (
        "ls /run/secretsd",
        "ls /run/secretsd/bot/",
        "cat /run/secretsd/bot/env",
        f"cat {generation}/env",
        "ls /run/secretsd/.generations",
        "ls /run/secretsd/.generations/bot",
        "ls /run/secretsd/.copies",
        "cat /run/secretsd/.copies/bot/1/0",
        "cat /run/secretsd/.digest-key",
        "ls /var/lib/secretsd",
        "touch /run/secretsd/planted",
        "ln -sfn /etc /run/secretsd/bot",
        "rm /run/secretsd/bot",
        f"touch {generation}/planted",
        f"rm -f {generation}/env && ! test -e {generation}/env",
        f"mv {generation} /run/secretsd/elsewhere",
        f"ln {generation}/env /var/tmp/link",
    )
    readable = {"ls /run/secretsd/bot/", "cat /run/secretsd/bot/env", f"cat {generation}/env"}
    readable |= {"ls /run/secretsd/.generations/bot", f"ln {generation}/env /var/tmp/link"}
    for user in (_NOBODY, "other", "bot"):
        done = {
            attempt
            for attempt in attempts
            if machine.host.run(["sh", "-c", attempt], user=user, check=False).returncode == 0
        }
        assert done <= (readable if user == "bot" else set()), f"as {user}"
    assert "cat /run/secretsd/bot/env" in done, "the attempts are real ones: the owner can read"


_OWN = ("/run/secretsd", "/var/lib/secretsd", "/tmp", "/var/tmp")
_HARMLESS = {
    *("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"),
    # systemd 254 and later give a service this file of its own control group.
    "/sys/fs/cgroup/system.slice/secretsd.service/memory.pressure",
}


def test_sandbox_leaves_nothing_to_write_or_take_but_the_daemons_own_directories(machine: Machine) -> None:
    machine.host.put("/usr/local/lib/probe.py", _PROBE.read_text(encoding="utf-8"))
    machine.host.sh("install -d -m 1777 /run/open && install -m 666 /dev/null /run/open/file")
    probe = ["/usr/bin/python3", "-I", "/usr/local/lib/probe.py"]
    # The capability alone, without the sandbox around it, takes everything: the attempts are real ones.
    capable = [
        "--reuid=secretsd",
        "--regid=secretsd",
        "--clear-groups",
        "--inh-caps=+chown",
        "--ambient-caps=+chown",
    ]
    machine.host.run(["setpriv", *capable, *probe])
    unbound = json.loads(machine.host.read("/var/lib/secretsd/probe.json"))
    assert {"/etc/shadow", "/etc/passwd"} <= set(unbound["taken"])
    assert "/run/open/file" in unbound["written"]
    assert "/run/open" in unbound["planted"]

    machine.drop_in("secretsd", f"ExecStartPre={' '.join(probe)}")
    machine.host.sh("chown -R root: /etc/passwd /etc/shadow /etc/secretsd; rm /var/lib/secretsd/probe.json")
    machine.restart_secretsd()
    found = json.loads(machine.host.read("/var/lib/secretsd/probe.json"))
    assert "/run/secretsd/.digest-key" in found["taken"], "it may give away what it publishes"
    for kind, paths in found.items():
        beyond = [path for path in paths if not path.startswith(_OWN) and path not in _HARMLESS]
        assert beyond == [], f"{kind} from within the sandbox"


def test_exposure_is_low(machine: Machine) -> None:
    for unit in ("secretsd.service", "secretsd-notify.service"):
        said = machine.host.run(["systemd-analyze", "security", "--no-pager", unit]).stdout
        exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
        assert exposure is not None, said
        # 0.2 of it to know the unit of who gives an order, for the audit trail: ProtectProc=.
        assert float(exposure[1]) <= 1.7, said


@on_bookworm
def test_nobody_of_the_daemons_own_uid_attaches_and_an_abort_leaves_no_core(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1", None)
    machine.restart_secretsd()
    daemon = machine.main_pid("secretsd")
    (zygote,) = machine.children(daemon)
    machine.host.start(["sleep", "60"], user="secretsd")
    eventually(lambda: machine.host.run(["pgrep", "-x", "sleep"], check=False).stdout, "sleep runs")
    plain = int(machine.host.sh("pgrep -x sleep"))
    for pid, can in ((plain, True), (daemon, False), (zygote, False)):
        attached = machine.host.run(
            ["timeout", "0.5", "strace", "-o", "/dev/null", "-p", str(pid)], user="secretsd", check=False
        )
        assert ("Operation not permitted" in attached.stderr) is not can
        read = machine.host.run(["head", "-c1", f"/proc/{pid}/environ"], user="secretsd", check=False)
        assert (read.returncode == 0) is can

    # A plain service dumps, so that "killed" below means something.
    machine.host.run(["systemd-run", "--unit=dumps", "--property=LimitCORE=infinity", "sleep", "60"])
    machine.host.run(["systemctl", "kill", "--signal=ABRT", "dumps"])
    eventually(lambda: "code=dumped" in machine.host.journal("dumps"), "the plain service has dumped")
    for pid in (zygote, daemon):
        machine.host.run(["kill", "-ABRT", str(pid)])
    eventually(lambda: "code=killed, status=6/ABRT" in machine.host.journal("secretsd"), "it was aborted")
    assert "dumped" not in machine.host.journal("secretsd")
    assert not machine.host.sh(
        "find / /run/secretsd /var/lib/secretsd -xdev -name 'core*' -size +64k -user secretsd"
    )
