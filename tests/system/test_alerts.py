"""An alert command under the real unit, in its sandbox: what it is told, and what it can and cannot do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab import faults
from tests.lab.httpd import Handler, Httpd
from tests.system.machine import RELOAD, Machine, eventually, on_bookworm

pytestmark = pytest.mark.system

# The state directory is one of the few that the daemon may write, and the runtime directory another.
_LOG = "/var/lib/secretsd/events-of-the-test"
_NOTE = f"#!/bin/sh\ncat >>{_LOG}\n"
_PROBE = f"""#!/bin/sh
exec >{_LOG} 2>&1
grep -E '^(Cap|NoNewPrivs|Groups|Uid)' /proc/self/status
ls -l /proc/self/fd
env
/usr/bin/python3 -I -c 'import ssl, json; print("python works")'
chown secretsd /run/secretsd/bot/env 2>&1
cat /run/secretsd/bot/env
echo over
"""


def _alerting(machine: Machine, program: str, *arguments: str, more: str = "") -> None:
    machine.host.put("/usr/local/bin/alert", program, mode=0o755)
    command = json.dumps(["/usr/local/bin/alert", *arguments])
    machine.configure(f'alert_command = {command}\nalert_after = "0s"\n{more}')


def _events(machine: Machine) -> list[dict[str, Any]]:
    """What was told of the bot; a witness has troubles of its own."""
    lines = machine.host.sh(f"cat {_LOG} 2>/dev/null || true").splitlines()
    return [event for line in lines if (event := json.loads(line))["bundle"] == "bot"]


def _heard(machine: Machine) -> list[tuple[str, str | None]]:
    return [(event["event"], event["unit"]) for event in _events(machine)]


def test_an_operator_hears_of_each_kind_of_trouble_and_of_its_end(machine: Machine) -> None:
    machine.add_bot(
        "bot", "fake-key-1", service="ExecReload=\nExecReload=/bin/sh -c 'test -e /run/bots/good'"
    )
    _alerting(machine, _NOTE, more="alert_limit = 60")
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    expected: list[tuple[str, str | None]] = []

    def then(*events: tuple[str, str | None]) -> dict[str, Any]:
        """The last event, when these have come, in any order."""
        eventually(
            lambda: len(_heard(machine)) >= len(expected) + len(events), f"{events} are told", timeout_s=20
        )
        new = _heard(machine)[len(expected) :]
        assert sorted(new, key=str) == sorted(events, key=str)
        expected.extend(new)
        return _events(machine)[-1]

    with machine.proxy.broken(faults.deny("bot/production")):
        machine.add_bot("witness", "fake-key-1", None)
        assert machine.secretsctl("reload")[0] == 77
        event = then(("refused", None))
        assert (event["bundle"], event["code"], event["host"]) == ("bot", "access-denied", "lab")
        assert "GetSecretValue" in event["advice"]
    assert machine.secretsctl("reload")[0] == 0
    assert then(("recovered", None))["was"] == "refused"

    machine.rotate("bot", "bad")  # shorter than its rule
    assert machine.secretsctl("reload")[0] == 65
    assert then(("failed", None))["class"] == "data"
    machine.rotate("bot", "fake-key-2")
    assert machine.secretsctl("reload")[0] == 75, "published, and its unit does not reload"
    then(("recovered", None), ("not-loaded", "bot.service"))
    machine.host.sh("touch /run/bots/good")
    assert machine.secretsctl("reload")[0] == 0
    assert then(("recovered", "bot.service"))["was"] == "not-loaded"

    with machine.proxy.broken(faults.SERVER_ERROR):
        assert machine.secretsctl("reload", "bot")[0] == 69
        assert then(("stale", None))["class"] == "transient"
        # Between what the command has written and the end of the command, a restart would tell it twice.
        book = "/var/lib/secretsd/alerts.json"
        eventually(lambda: '"stale"' in machine.host.read(book), "it is kept that it was told")
        machine.restart_secretsd()
        assert _heard(machine) == expected, "a restart tells nothing twice"
    machine.secretsctl("reload")
    then(("recovered", None))
    assert "fake-key" not in machine.host.sh(f"cat {_LOG}")
    assert machine.host.journal().count("alert told: bundle=bot ") == len(expected)


def test_an_alert_command_has_none_of_the_daemons_rights_and_none_of_its_credentials(
    machine: Machine,
) -> None:
    machine.add_bot("bot", "fake-key-1", None)
    _alerting(machine, _PROBE)
    machine.restart_secretsd()
    code, said = machine.secretsctl("alert-test")
    assert code == 0, said
    seen = machine.host.sh(f"cat {_LOG}")
    print(seen)
    assert seen.endswith("over\n")
    fields = dict(line.split(":\t", 1) for line in seen.splitlines() if ":\t" in line)
    assert {int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapAmb")} == {0}
    daemon = machine.host.sh(f"grep CapEff /proc/{machine.main_pid('secretsd')}/status")
    assert int(daemon.split()[1], 16) == 1, "which the daemon itself has"
    assert fields["NoNewPrivs"] == "1"
    assert "AWS" not in seen
    assert "NOTIFY_SOCKET" not in seen
    assert "python works" in seen
    assert "Operation not permitted" in seen, "it cannot take what was published"
    assert "fake-key" not in seen
    descriptors = [line for line in seen.splitlines() if " -> " in line]
    assert not any(each in line for line in descriptors for each in (".lock", "socket:", "anon_inode"))


@on_bookworm
def test_a_unit_that_its_before_command_holds_back_for_too_long_is_told(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1", f'{RELOAD}\nbefore = ["/bin/false"]\nbefore_alarm = "1s"')
    _alerting(machine, _NOTE, more="alert_limit = 60")
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    machine.rotate("bot", "fake-key-2")
    assert machine.secretsctl("reload")[0] == 75
    eventually(lambda: _heard(machine), "it is told", timeout_s=30)
    (event,) = _events(machine)
    assert (event["event"], event["code"], event["unit"]) == ("not-loaded", "held-back", "bot.service")
    assert "before_alarm" in event["message"]
    machine.host.systemctl("restart", "bot")
    eventually(lambda: len(_heard(machine)) == 2, "the bot runs on what is published", timeout_s=90)
    assert _events(machine)[-1]["was"] == "not-loaded"


@contextmanager
def _webhook(machine: Machine, bodies: list[bytes]) -> Iterator[str]:
    class Hook(Handler):
        def do_POST(self) -> None:  # noqa: N802 - the base class's naming
            bodies.append(self.request_body())
            self.reply(200, b"ok")

    with Httpd(machine.host.network, ("127.0.0.1", 8099), Hook):
        yield "http://127.0.0.1:8099/services/fake-webhook-path"


def test_the_slack_script_of_the_package_works_in_the_sandbox_as_its_text_says(machine: Machine) -> None:
    bodies: list[bytes] = []
    with _webhook(machine, bodies) as url:
        machine.host.sh(
            "install -m 0755 /usr/share/doc/secretsd/examples/secretsd-slack /usr/local/bin/ &&"
            " install -m 0640 -g secretsd /dev/null /etc/secretsd/slack.curl"
        )
        machine.host.put("/etc/secretsd/slack.curl", f'url = "{url}"\n', mode=0o640, owner="root:secretsd")
        machine.configure('alert_command = ["/usr/local/bin/secretsd-slack", "/etc/secretsd/slack.curl"]')
        assert machine.secretsctl("check-config")[0] == 0
        machine.restart_secretsd()
        code, said = machine.secretsctl("alert-test")
        assert code == 0, said
    (body,) = bodies
    assert "this is a test of alert_command" in json.loads(body)["text"]


@on_bookworm
def test_a_command_that_hangs_does_not_keep_the_daemon_from_stopping_nor_outlives_it(
    machine: Machine,
) -> None:
    machine.add_bot("bot", None, None)
    _alerting(machine, "#!/bin/sh\nsetsid sleep 1000 & exec sleep 1000\n")
    machine.restart_secretsd()
    eventually(lambda: machine.host.sh("pgrep -c sleep || true").strip() == "2", "the command runs")
    machine.host.systemctl("stop", "secretsd", timeout_s=15)
    assert machine.host.sh("pgrep -c sleep || true").strip() == "0"
