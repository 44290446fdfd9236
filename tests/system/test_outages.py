"""AWS and the metadata service in trouble: nothing bad is published, bots go on, and what is said is true."""

from __future__ import annotations

import time

import pytest

from tests.lab import faults
from tests.lab.faults import Fault, WrongJson
from tests.system.machine import Machine, eventually, on_bookworm

pytestmark = pytest.mark.system

_BOTH = frozenset({"bot", "other"})
_ONE = frozenset({"bot"})

# The fault, what is said of it (class, code), and whom it concerns.
_FAULTS: tuple[tuple[Fault, str, str, frozenset[str]], ...] = (
    (faults.THROTTLED, "transient", "throttled", _BOTH),
    (faults.SERVER_ERROR, "transient", "server-error", _BOTH),
    (faults.Reset(), "transient", "unreachable", _BOTH),
    (faults.Cut(40), "transient", "incomplete-answer", _BOTH),
    (faults.CutWhole(40), "transient", "incomplete-answer", _BOTH),
    (faults.CutWhole(0), "transient", "incomplete-answer", _BOTH),
    (faults.Huge(), "transient", "incomplete-answer", _BOTH),
    (faults.Drip(), "transient", "no-answer", _BOTH),
    (faults.Hang(), "transient", "unreachable", _BOTH),
    (WrongJson.HTML, "transient", "incomplete-answer", _BOTH),
    (WrongJson.EMPTY_OBJECT, "transient", "incomplete-answer", _BOTH),
    (WrongJson.VALUE_IS_NUMBER, "transient", "incomplete-answer", _BOTH),
    (WrongJson.OTHER_STAGE, "transient", "incomplete-answer", _BOTH),
    (faults.CLOCK_SKEW, "transient", "clock-skew", _BOTH),
    (faults.EXPIRED_TOKEN, "identity", "expired-credentials", _BOTH),
    (faults.UNKNOWN_CLIENT, "identity", "unknown-credentials", _BOTH),
    (faults.DENY_ALL, "identity", "access-denied", _BOTH),
    (faults.deny("bot/production"), "refusal", "access-denied", _ONE),
    (faults.decryption_failure("bot/production"), "refusal", "decryption-failed", _ONE),
)
_EXIT_CODES = {"transient": 69, "identity": 77, "refusal": 77}
_FILE = "stat -L -c '%i %Z' /run/secretsd/bot/env; cat /run/secretsd/bot/env"


def _said(machine: Machine, name: str) -> set[tuple[str, str]]:
    """Class and code of each failure of a bundle; each names the next step."""
    failures = machine.status(name)["failures"]
    assert all(failure["message"] and failure["advice"] for failure in failures)
    return {(failure["failure_class"], failure["code"]) for failure in failures}


@on_bookworm
def test_every_fault_of_aws_is_named_publishes_nothing_lasts_ten_seconds_at_most_and_passes(
    machine: Machine,
) -> None:
    machine.add_bot("bot", "fake-key-0", None)
    machine.add_bot("other", "fake-key-0", None)
    machine.restart_secretsd()
    wrong = []
    for number, (fault, failure_class, code, concerned) in enumerate(_FAULTS, start=1):
        before = machine.host.sh(_FILE)
        machine.rotate("bot", f"fake-key-{number}")
        machine.rotate("other", f"fake-key-{number}")
        began = time.monotonic()
        with machine.proxy.broken(fault):
            exit_code, output = machine.secretsctl("reload")
            spent_s = time.monotonic() - began
            said = {name: _said(machine, name) for name in _BOTH}
            after = machine.host.sh(_FILE)
        expected = {name: {(failure_class, code)} if name in concerned else set() for name in _BOTH}
        if said != expected or exit_code != _EXIT_CODES[failure_class] or after != before or spent_s > 10.0:
            wrong.append((fault, said, exit_code, spent_s))
        print(f"{fault}: {said['bot']} {exit_code} {spent_s:.2f}")
        assert "fake-key" not in output
        assert machine.secretsctl("reload")[0] == 0, f"it passes when {fault} does"
        assert f"fake-key-{number}'" in machine.host.sh(_FILE)
    assert not wrong
    assert "fake-key" not in machine.host.journal()


@on_bookworm
def test_bots_start_at_once_from_published_files_while_aws_hangs(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1")
    machine.add_bot("late", None)
    machine.restart_secretsd()
    machine.proxy.set(faults.Hang())
    machine.host.systemctl("restart", "--no-block", "secretsd")
    # From here on the daemon stops, starts, and waits for AWS; whatever it is at, the file is there.
    for _ in range(5):
        began = time.monotonic()
        assert machine.secretsctl("wait", "bot")[0] == 0
        assert time.monotonic() - began < 0.5
        time.sleep(0.2)
    assert machine.host.show("secretsd", "ActiveState") == "activating"
    began = time.monotonic()
    machine.host.systemctl("start", "bot")
    assert time.monotonic() - began < 11, "After=secretsd.service waits for READY, which comes after 10 s"
    assert machine.seen("bot") == ["start fake-key-1"]
    assert machine.secretsctl("wait", "late", "--timeout", "100ms")[0] == 75
    assert _said(machine, "bot") == {("transient", "unreachable")}

    machine.proxy.clear()
    machine.proxy.stop()
    machine.restart_secretsd()
    assert machine.status("bot")["generation"] == 1
    machine.rotate("bot", "fake-key-2")
    machine.proxy.start()
    eventually(lambda: "reload fake-key-2" in machine.seen("bot"), "it is caught up with by itself")


_MISTAKES = '[bundles.bot]\nownr = "bot"\n'


def test_reload_tells_the_truth_and_a_bad_configuration_changes_nothing(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1")
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    good = machine.host.read("/etc/secretsd/conf.d/bot.toml")
    assert machine.reload_secretsd() == 0
    with machine.proxy.broken(faults.SERVER_ERROR):
        assert machine.reload_secretsd() != 0
        assert machine.secretsctl("reload")[0] == 69
    assert machine.reload_secretsd() == 0

    machine.host.put("/etc/secretsd/conf.d/bot.toml", good.replace("owner", "ownr"))
    line = 1 + good[: good.index("owner")].count("\n")
    assert machine.reload_secretsd() != 0
    for command in ("reload", "check-config"):
        code, said = machine.secretsctl(command)
        assert code == 78
        assert f"/etc/secretsd/conf.d/bot.toml:{line}: unknown key 'ownr'; did you mean 'owner'?" in said
    assert "the running configuration stays in force" in machine.secretsctl("reload")[1]
    assert machine.host.show("secretsd", "ActiveState") == "active"
    assert machine.status("bot")["state"] == "loaded"

    machine.host.put("/etc/secretsd/conf.d/bot.toml", good)
    machine.rotate("bot", "fake-key-2")
    assert machine.reload_secretsd() == 0
    assert machine.seen("bot") == ["start fake-key-1", "reload fake-key-2"]


@on_bookworm
def test_daemon_with_a_bad_configuration_ends_with_78_and_names_the_line(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1")
    machine.host.put("/etc/secretsd/conf.d/bot.toml", _MISTAKES)
    assert machine.host.systemctl("restart", "secretsd", check=False).returncode != 0
    assert machine.host.show("secretsd", "ExecMainStatus") == "78"
    assert "/etc/secretsd/conf.d/bot.toml:2: " in machine.host.journal("secretsd")


@on_bookworm
def test_role_credentials_are_fetched_once_and_outlive_the_metadata_service(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1")
    endpoint = f"AWS_ENDPOINT_URL={machine.proxy.url}\n"
    machine.host.put("/etc/default/secretsd", endpoint)
    imds = machine.lab.imds
    imds.requests.clear()
    machine.restart_secretsd()
    first = imds.access_key_id
    for number in (2, 3):
        machine.rotate("bot", f"fake-key-{number}")
        assert machine.reload_secretsd() == 0
    assert imds.requests["credentials"] == 1

    imds.stop()
    machine.rotate("bot", "fake-key-4")
    assert machine.reload_secretsd() == 0
    assert {call.access_key_id for call in machine.proxy.calls} == {first}
    imds.start()

    # What AWS no longer accepts is asked for anew at the next refresh.
    imds.renew()
    with machine.proxy.broken(faults.EXPIRED_TOKEN):
        assert machine.secretsctl("reload")[0] == 77
        assert _said(machine, "bot") == {("identity", "expired-credentials")}
    machine.rotate("bot", "fake-key-5")
    assert machine.secretsctl("reload")[0] == 0
    assert imds.requests["credentials"] == 2
    assert machine.proxy.calls[-1].access_key_id == imds.access_key_id != first
