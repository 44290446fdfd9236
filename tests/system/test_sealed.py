"""A machine that boots while AWS is out: bots start from the sealed copy, and never from an altered one."""

from __future__ import annotations

import pytest

from secretsd.cli import sealkey
from tests.canary.spellings import MARKER
from tests.lab import faults
from tests.system.machine import Machine, eventually, on_bookworm

pytestmark = pytest.mark.system

_SEALED = 'sealed_copy = { max_age = "7d" }'
_COPIES = "/var/lib/secretsd/sealed/bot"


def _set_up(machine: Machine) -> None:
    """As the README says: the key, then the configuration; and a bot that starts with the machine."""
    exit_code, output = machine.secretsctl("seal-setup", "--with-key", "host")
    assert exit_code == 0, output
    assert 'seal_key = "credential:secretsd-seal-key"' in output
    machine.configure('seal_key = "credential:secretsd-seal-key"')
    machine.add_bot("bot", MARKER, bundle=_SEALED)
    enabled = "\n[Install]\nWantedBy=multi-user.target\n"
    machine.write_unit("bot", service=enabled)
    machine.host.systemctl("enable", "bot")
    machine.host.put("/etc/tmpfiles.d/bots.conf", "d /run/bots 1777 root root\n")
    machine.restart_secretsd()
    eventually(lambda: _copies(machine), "a sealed copy is made")
    machine.host.systemctl("start", "bot")
    assert machine.seen("bot") == [f"start {MARKER}"]


def _copies(machine: Machine) -> list[str]:
    return machine.host.sh(f"ls {_COPIES} 2>/dev/null || true").split()


def _codes(machine: Machine) -> set[str]:
    return {failure["code"] for failure in machine.status("bot")["failures"]}


def test_a_boot_while_aws_is_out_starts_the_bot_from_the_sealed_copy_and_status_says_so(
    machine: Machine,
) -> None:
    _set_up(machine)
    machine.proxy.set(faults.SERVER_ERROR)
    machine.host.reboot()
    machine.host.wait_active("bot", timeout_s=30)
    assert machine.seen("bot") == [f"start {MARKER}"], "memory was emptied, and the bot has its key"
    status = machine.status("bot")
    assert status["sealed"]["in_use"] is True
    assert _codes(machine) == {"server-error"}
    assert "from its sealed copy" in machine.host.show("secretsd", "StatusText")
    screen = machine.secretsctl("status", "bot")[1]
    assert any(line.startswith("bot: ") and "sealed" in line for line in screen.splitlines())
    assert "it is what is published: no source has answered since" in screen
    assert machine.secretsctl("wait", "bot", "--max-age", "1ms", "--timeout", "1s")[0] == 75
    assert machine.secretsctl("wait", "bot", "--max-age", "1h", "--timeout", "1s")[0] == 0
    machine.proxy.clear()
    assert machine.secretsctl("reload")[0] == 0
    assert machine.status("bot")["sealed"]["in_use"] is False
    assert machine.seen("bot") == [f"start {MARKER}"], "the same content: nobody is told"


@on_bookworm
def test_an_altered_copy_is_refused_and_the_bot_does_not_start(machine: Machine) -> None:
    _set_up(machine)
    machine.proxy.set(faults.Reset())
    (name,) = _copies(machine)
    machine.host.sh(f"printf X | dd of={_COPIES}/{name} bs=1 seek=1200 conv=notrunc 2>/dev/null")
    machine.host.reboot()
    eventually(lambda: "sealed-altered" in _codes(machine), "the copy is refused by name")
    eventually(lambda: machine.host.show("bot", "ActiveState") == "failed", "the bot does not start")
    assert machine.seen("bot") == []
    assert "sealed-altered" in machine.host.journal("secretsd")


@on_bookworm
def test_a_power_cut_loses_no_copy(machine: Machine) -> None:
    _set_up(machine)
    machine.proxy.set(faults.Hang())
    machine.host.power_cycle()
    machine.host.wait_active("bot", timeout_s=40)
    assert machine.seen("bot") == [f"start {MARKER}"]


@on_bookworm
def test_a_machine_without_tpm_refuses_a_key_of_the_tpm_and_a_second_key_wants_force(
    machine: Machine,
) -> None:
    exit_code, output = machine.secretsctl("seal-setup", "--with-key", "tpm2")
    assert exit_code == 78
    assert "no TPM2 that systemd can use" in output
    assert machine.secretsctl("seal-setup", "--with-key", "host", user="nobody")[0] == 77
    assert machine.secretsctl("seal-setup", "--with-key", "host")[0] == 0
    first = machine.host.sh("sha256sum /etc/credstore.encrypted/secretsd-seal-key")
    exit_code, output = machine.secretsctl("seal-setup", "--with-key", "host")
    assert exit_code == 64
    assert "--force" in output
    assert machine.host.sh("sha256sum /etc/credstore.encrypted/secretsd-seal-key") == first
    assert machine.secretsctl("seal-setup", "--with-key", "host", "--force")[0] == 0
    assert machine.host.sh("sha256sum /etc/credstore.encrypted/secretsd-seal-key") != first
    machine.host.run(["rm", "/etc/credstore.encrypted/secretsd-seal-key"])
    machine.restart_secretsd()
    machine.host.wait_active("secretsd")


@on_bookworm
def test_a_key_that_was_made_anew_seals_what_the_old_one_had_sealed(machine: Machine) -> None:
    _set_up(machine)
    assert machine.secretsctl("seal-setup", "--with-key", "host", "--force")[0] == 0
    (name,) = _copies(machine)
    before = machine.host.sh(f"sha256sum {_COPIES}/{name}")
    machine.restart_secretsd()
    eventually(lambda: machine.host.sh(f"sha256sum {_COPIES}/{name}") != before, "it is sealed anew")
    machine.proxy.set(faults.Reset())
    machine.host.reboot()
    machine.host.wait_active("bot", timeout_s=30)


@on_bookworm
def test_with_the_counters_drop_in_the_service_starts_also_where_the_tpm_is_gone(machine: Machine) -> None:
    """This machine has no TPM; what the drop-in opens of /dev must close nothing of the rest."""
    machine.host.sh("groupadd --system tss")
    machine.host.put(str(sealkey.COUNTER_DROP_IN), sealkey.COUNTER_DROP_IN_TEXT)
    machine.host.systemctl("daemon-reload")
    _set_up(machine)
    machine.configure('seal_key = "credential:secretsd-seal-key"\nseal_counter = "tpm:0x1800e5d"')
    machine.restart_secretsd()
    eventually(lambda: machine.status("bot")["sealed"]["problem"], "a TPM that is missing is told")
    assert machine.status("bot")["failures"] == [], "and keeps nothing from being published"
    pid = machine.main_pid("secretsd.service")
    assert machine.host.run(["ls", f"/proc/{pid}/root/dev/shm"], check=False, user="secretsd").returncode != 0


@on_bookworm
def test_a_key_that_systemd_cannot_decrypt_is_named_by_doctor_and_its_fix_works(machine: Machine) -> None:
    _set_up(machine)
    machine.host.put("/etc/credstore.encrypted/secretsd-seal-key", "not what systemd-creds wrote", mode=0o600)
    machine.host.systemctl("restart", "secretsd", check=False)
    output = machine.secretsctl("doctor")[1]
    assert "systemd cannot decrypt the seal key" in output
    machine.host.run(["rm", "/etc/systemd/system/secretsd.service.d/seal-key.conf"])
    machine.host.systemctl("daemon-reload")
    machine.restart_secretsd()
    eventually(lambda: "sealed-key-missing" in machine.host.journal("secretsd"), "the log names the key")
    assert machine.status("bot")["failures"] == []
