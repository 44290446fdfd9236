"""secretsd-signer as it is installed: from the package to a signature, who may sign, and what stops it."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests.lab.host import Host
from tests.system.machine import eventually, on_bookworm

pytestmark = pytest.mark.system

README = Path(__file__).resolve().parents[2] / "README.md"
MOST_EXPOSURE = 1.5
AUDIT = "/var/lib/secretsd-signer/audit/signer.jsonl"
SOCKETS = ("secretsd-signer.socket", "secretsd-signer-native.socket", "secretsd-signer-metrics.socket")
SETUP = "/usr/libexec/secretsd/setup-softhsm"
BOTS_KEY = """
[signer.keys.orders]
type = "ecdsa-p256"
operations = ["sign", "verify", "public-key"]
allow = [{ unit = "trading-bot.service" }]
"""
# Signs until it is told to end, and says how often it could and could not.
BOT = """
import signal, sys, time
sys.path.append("/usr/lib/secretsd")
from secretsd.client import Signer, SigningError
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
signer, signed, refused, last = Signer(timeout_s=5.0), 0, [], ""
while not ended:
    try:
        signer.sign("orders", b"buy 1 BTC")
        signed, last = signed + 1, "signed"
    except SigningError as error:
        last = error.code
        refused.append(f"{error.code}:{error.retryable}")
    open("/tmp/bot.log", "w").write(f"{signed} {','.join(sorted(set(refused))) or '-'} {last}")
    time.sleep(0.005)
"""


@pytest.fixture
def host(suite: str, deb: Path) -> Iterator[Host]:
    """A machine with the package and SoftHSM; nothing is set up."""
    with Host(suite, deb=deb) as host:
        yield host


@pytest.fixture
def signing(host: Host) -> Host:
    """A signer with the key "demo", which root may use, and "orders", which trading-bot.service may use."""
    host.run([SETUP])
    host.put("/etc/secretsd/conf.d/orders.toml", BOTS_KEY)
    host.systemctl("reload", "secretsd-signer")
    for key in ("demo", "orders"):
        eventually(lambda key=key: _said(host, "keys", "generate", key)[0] == 0, f"{key} is generated")
    return host


def _said(
    host: Host, *arguments: str, user: str | None = None, message: str = "buy 1 BTC"
) -> tuple[int, str]:
    done = host.run(["secretsctl", *arguments], user=user, check=False, input=message, timeout_s=60)
    return done.returncode, done.stdout + done.stderr


def _start_bot(host: Host, unit: str = "trading-bot", user: str = "trader") -> None:
    host.sh(f"id {user} >/dev/null 2>&1 || useradd --system {user}; rm -f /tmp/bot.log")
    host.put("/usr/local/lib/signing_bot.py", BOT)
    options = ["-p", f"User={user}", "--collect", "--quiet", f"--unit={unit}"]
    host.run(["systemd-run", *options, "/usr/bin/python3", "-I", "/usr/local/lib/signing_bot.py"])


def _bot(host: Host) -> tuple[int, str, str]:
    """How many it has signed, what it was refused with, and how the last attempt ended."""
    words = host.sh("cat /tmp/bot.log 2>/dev/null || true").split()
    return (int(words[0]), words[1], words[2]) if len(words) == 3 else (0, "-", "")


def test_five_commands_of_the_readme_lead_from_the_package_to_a_verified_signature(host: Host) -> None:
    section = README.read_text(encoding="utf-8").partition("### Set up")[2]
    commands = re.findall(r"^\$ (.+)$", section.partition("```console")[2].partition("```")[0], re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        done = host.run(["sh", "-ec", command.replace("sudo ", "")], check=False, timeout_s=120)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert done.stdout == "good: the signature is by version 1 of demo\n"

    public_key = load_pem_public_key(host.run(["secretsctl", "public-key", "demo"]).stdout.encode())
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    signature = base64.b64decode(_said(host, "sign", "demo")[1])
    public_key.verify(signature, b"buy 1 BTC", ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        public_key.verify(signature, b"buy 2 BTC", ec.ECDSA(hashes.SHA256()))

    _the_sandbox_is_closed(host)
    _it_starts_with_the_machine(host)


def _the_sandbox_is_closed(host: Host) -> None:
    printed = host.run(["systemd-analyze", "security", "--no-pager", "secretsd-signer.service"]).stdout
    exposure = re.search(r"Overall exposure level for secretsd-signer.service: ([0-9.]+)", printed)
    assert exposure is not None, printed
    assert float(exposure[1]) <= MOST_EXPOSURE
    pid = host.show("secretsd-signer", "MainPID")
    # Its own user may neither read its memory nor, by the same rule, attach to it.
    reading = f"head -c 1 /proc/{pid}/environ >/dev/null"
    assert host.run(["sh", "-c", reading], check=False).returncode == 0, "root may"
    assert host.run(["sh", "-c", reading], user="secretsd-signer", check=False).returncode != 0
    assert "CapEff:\t0000000000000000" in host.read(f"/proc/{pid}/status")
    networks = host.sh(f"readlink /proc/1/ns/net /proc/{pid}/ns/net").split()
    assert len(set(networks)) == 2, "it has a network of its own, without anything in it"
    assert host.sh(f"stat -c '%a %U %G' {AUDIT}") == "640 secretsd-signer secretsd-audit\n"
    host.sh("useradd --system --groups secretsd-audit auditor; useradd --system nobody-in-particular")
    assert '"action":"sign"' in host.run(["cat", AUDIT], user="auditor").stdout
    assert host.run(["cat", AUDIT], user="nobody-in-particular", check=False).returncode != 0


def _it_starts_with_the_machine(host: Host) -> None:
    assert host.systemctl("is-enabled", "secretsd-signer.service").stdout == "enabled\n"
    for unit in SOCKETS:
        assert host.systemctl("is-enabled", unit).stdout == "enabled\n"


def test_the_pin_shows_nowhere_and_a_second_run_of_the_setup_changes_nothing(host: Host) -> None:
    traced = ["strace", "-f", "-s", "1000", "-e", "trace=execve", "-o", "/root/trace", SETUP]
    host.run(traced, timeout_s=120)
    host.run(["secretsctl", "keys", "generate", "demo"])
    pins = [host.read(f"/etc/credstore/{name}").strip() for name in ("hsm-pin", "hsm-so-pin")]
    assert all(len(pin) == 32 for pin in pins)
    assert host.sh("stat -c '%a %U' /etc/credstore/hsm-pin /etc/credstore") == "600 root\n700 root\n"
    trace = host.read("/root/trace")
    assert "systemctl" in trace
    status = host.systemctl("status", "secretsd-signer").stdout
    assert not [pin for pin in pins if pin in trace + status], "the canary gate looks everywhere else"

    before = host.sh(
        "cd /var/lib/secretsd-signer; find . -path ./audit -prune -o -type f -print | xargs sha256sum"
    )
    pid = host.show("secretsd-signer", "MainPID")
    host.run([SETUP])
    assert host.show("secretsd-signer", "MainPID") == pid, "nothing was made, so nothing restarts"
    assert [host.read(f"/etc/credstore/{name}").strip() for name in ("hsm-pin", "hsm-so-pin")] == pins
    after = host.sh(
        "cd /var/lib/secretsd-signer; find . -path ./audit -prune -o -type f -print | xargs sha256sum"
    )
    assert after == before


@on_bookworm
def test_doctor_says_what_is_wrong_with_the_signer_and_how_to_mend_it(host: Host) -> None:
    assert not [name for name in _examined(host) if "signer" in name or name in ("token", "pin")], "none here"
    host.run([SETUP])
    checks = _examined(host)
    for name in ("signer units", "pin", "signer", "token", "audit"):
        assert checks[name]["state"] == "ok", checks[name]
    assert checks["key demo"]["state"] == "fail"
    assert "secretsctl keys generate demo" in checks["key demo"]["fix"]
    host.run(["secretsctl", "keys", "generate", "demo"])
    assert _examined(host)["key demo"]["state"] == "ok"

    host.sh("chmod 644 /etc/credstore/hsm-pin; systemctl disable --quiet secretsd-signer")
    checks = _examined(host)
    assert (checks["pin"]["state"], checks["pin"]["fix"]) == ("fail", "chmod 600 /etc/credstore/hsm-pin")
    assert checks["signer units"]["state"] == "warn"
    host.sh(
        "rm /etc/credstore/hsm-pin; systemctl restart secretsd-signer; systemctl stop secretsd-signer.socket"
    )
    checks = _examined(host)
    assert checks["pin"]["state"] == "warn"
    assert checks["signer units"]["state"] == "fail"
    assert "systemctl enable --now secretsd-signer" in checks["signer units"]["fix"]
    assert checks["signer"]["state"] == "fail"


def _examined(host: Host) -> dict[str, dict[str, str]]:
    done = host.run(["secretsctl", "doctor", "--json"], check=False, timeout_s=60)
    return {each["check"]: each for each in json.loads(done.stdout)["checks"]}


@on_bookworm
def test_a_setup_that_cannot_be_done_says_why_and_makes_no_second_token(host: Host) -> None:
    done = host.run([SETUP], user="nobody", check=False)
    assert (done.returncode, "only root" in done.stderr) == (77, True)
    host.sh("mv /usr/lib/softhsm /usr/lib/away")
    done = host.run([SETUP], check=False)
    assert (done.returncode, "apt install softhsm2" in done.stderr) == (78, True)
    host.sh("mv /usr/lib/away /usr/lib/softhsm")

    host.run([SETUP])
    host.sh("mv /etc/credstore/hsm-pin /root")
    done = host.run([SETUP], check=False)
    assert (done.returncode, "which opens it, is gone" in done.stderr) == (78, True)
    assert host.run(["test", "-e", "/etc/credstore/hsm-pin"], check=False).returncode != 0
    host.systemctl("restart", "secretsd-signer")
    code, told = _said(host, "sign", "demo")
    assert code == 78
    assert "put it into /etc/credstore/hsm-pin" in told
    assert "systemctl restart secretsd-signer" in told
    host.sh("mv /root/hsm-pin /etc/credstore")
    host.systemctl("restart", "secretsd-signer")
    assert _said(host, "keys", "generate", "demo")[0] == 0

    host.put(
        "/etc/secretsd/conf.d/signer.toml", '[signer]\nmodule = "/opt/x.so"\ntoken = "x"\npin = "file:/x"\n'
    )
    done = host.run([SETUP], check=False)
    assert (done.returncode, "for another token" in done.stderr) == (78, True)


def test_a_unit_signs_others_do_not_and_a_reload_changes_who_may(signing: Host) -> None:
    _start_bot(signing)
    eventually(lambda: _bot(signing)[0] > 0, "the bot has signed")
    assert _bot(signing)[1] == "-"
    # The same user outside of that unit, another user, root: none is named.
    for user in ("trader", "nobody", None):
        code, told = _said(signing, "sign", "orders", user=user)
        assert (code, "may not" in told or "no key" in told) == (77, True) or code == 64, (user, told)
    signing.put("/etc/secretsd/conf.d/orders.toml", BOTS_KEY.replace("trading-bot.service", "other.service"))
    signing.systemctl("reload", "secretsd-signer")
    eventually(
        lambda: _bot(signing)[2] in ("no-right", "unknown-key"), "the bot is refused on its open connection"
    )
    signing.put("/etc/secretsd/conf.d/orders.toml", "[signer.keys.orders]\ntype = 5\n")
    assert signing.systemctl("reload", "secretsd-signer", check=False).returncode != 0
    assert _said(signing, "sign", "demo")[0] == 0, "the configuration of before is in force"
    assert "is not watched" not in signing.journal("secretsd-signer"), (
        "the trail's directory is, in the sandbox"
    )


def test_a_signer_that_is_killed_comes_back_on_the_same_sockets(signing: Host) -> None:
    _start_bot(signing)
    eventually(lambda: _bot(signing)[0] > 10, "the bot signs")
    sockets = signing.sh("stat -c %i /run/secretsd-signer/signer.sock /run/secretsd-signer/signer.seq")
    for _ in range(3):
        signing.run(["kill", "-9", signing.show("secretsd-signer", "MainPID")])
        # At once: it waits at systemd's socket, or is turned away by the process that is dying.
        killed_s = time.monotonic()
        code, told = _said(signing, "sign", "demo")
        assert code == 0, told
        assert time.monotonic() - killed_s < 5
    signed = _bot(signing)[0]
    eventually(lambda: _bot(signing)[0] > signed + 10 and _bot(signing)[2] == "signed", "the bot signs again")
    assert ":False" not in _bot(signing)[1], "whatever it was refused with, it was told to try again"
    assert (
        signing.sh("stat -c %i /run/secretsd-signer/signer.sock /run/secretsd-signer/signer.seq") == sockets
    )


@on_bookworm
def test_a_stop_answers_what_is_under_way_and_a_broken_configuration_does_not_spin(signing: Host) -> None:
    _start_bot(signing)
    eventually(lambda: _bot(signing)[0] > 10, "the bot signs")
    signing.systemctl("stop", "secretsd-signer.service")
    assert signing.show("secretsd-signer", "Result") == "success"
    records = [json.loads(line) for line in signing.read(AUDIT).splitlines()]
    signs = [each for each in records if each.get("action") == "sign"]
    begun, ended = (
        {each["request"] for each in signs if each["phase"] == word} for word in ("intent", "outcome")
    )
    assert len(begun) > 10
    assert begun <= ended, "no use is left without its outcome; what is refused has that alone"
    assert "stop" in {each.get("action") for each in records}

    # The bot has started it again by now: a stop that lasts is one of the sockets.
    signing.systemctl("stop", "trading-bot")
    signing.systemctl("stop", "secretsd-signer.socket", "secretsd-signer-native.socket")
    assert signing.systemctl("is-active", "secretsd-signer", check=False).stdout == "inactive\n"
    asked = signing.run(["secretsctl", "health"], check=False)
    assert "signer" not in asked.stdout, "no monitor starts what somebody has stopped"
    signing.put("/etc/secretsd/conf.d/orders.toml", "[signer.keys.orders]\ntype = 5\n")
    assert signing.systemctl("start", "secretsd-signer", check=False).returncode != 0
    signing.start(["secretsctl", "sign", "demo"])
    time.sleep(5)
    started = signing.journal("secretsd-signer").count("Starting secretsd-signer")
    time.sleep(5)
    assert signing.journal("secretsd-signer").count("Starting secretsd-signer") - started <= 3
    signing.sh("rm /etc/secretsd/conf.d/orders.toml")
    signing.systemctl("restart", "secretsd-signer")
    assert _said(signing, "sign", "demo")[0] == 0


@on_bookworm
def test_an_upgrade_keeps_the_sockets_and_a_purge_keeps_token_and_audit(
    signing: Host, newer_deb: Path
) -> None:
    _start_bot(signing)
    eventually(lambda: _bot(signing)[0] > 10, "the bot signs")
    sockets = signing.sh("stat -c %i /run/secretsd-signer/*")
    pid = signing.show("secretsd-signer", "MainPID")
    signing.install(newer_deb)
    assert signing.show("secretsd-signer", "MainPID") not in ("0", pid)
    assert signing.sh("stat -c %i /run/secretsd-signer/*") == sockets
    signed = _bot(signing)[0]
    eventually(lambda: _bot(signing)[0] > signed and _bot(signing)[2] == "signed", "the bot signs again")
    assert ":False" not in _bot(signing)[1]

    signing.systemctl("stop", "trading-bot")
    done = signing.run(["dpkg", "--purge", "secretsd"], timeout_s=120)
    assert "/var/lib/secretsd-signer is kept" in done.stderr
    for unit in ("secretsd-signer.service", *SOCKETS):
        assert signing.systemctl("is-active", unit, check=False).stdout == "inactive\n"
    assert signing.sh("find /var/lib/secretsd-signer/softhsm -name '*.object' | wc -l") != "0\n"
    assert '"action":"sign"' in signing.read(AUDIT)
    assert signing.read("/etc/credstore/hsm-pin")
