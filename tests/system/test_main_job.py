"""The main job on a real systemd: from AWS to a file, from the file to a bot, and a rotation to the bot."""

from __future__ import annotations

import pytest

from tests.system.machine import RELOAD, RESTART, SIGNAL, Machine, eventually

pytestmark = pytest.mark.system


def test_bot_starts_from_a_file_that_only_it_can_read(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1")
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    assert machine.seen("bot") == ["start fake-key-1"]
    listing = machine.host.sh("stat -L -c '%a %U %F' /run/secretsd/bot/env").strip()
    assert listing == "600 bot regular file"
    assert machine.host.run(["cat", "/run/secretsd/bot/env"], user=65534, check=False).returncode != 0


@pytest.mark.parametrize(("on_change", "event"), [(RELOAD, "reload"), (RESTART, "start"), (SIGNAL, "reload")])
def test_rotation_reaches_the_running_bot_that_starts_after_secretsd(
    machine: Machine, on_change: str, event: str
) -> None:
    machine.add_bot("bot", "fake-key-1", on_change)
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    machine.rotate("bot", "fake-key-2")
    assert machine.reload_secretsd() == 0
    assert machine.seen("bot") == ["start fake-key-1", f"{event} fake-key-2"]
    assert machine.status("bot")["state"] == "loaded"


def test_rotation_reaches_the_bot_by_the_schedule_alone(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1", bundle='refresh_interval = "1s"')
    machine.configure('refresh_jitter = "0s"')
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    machine.rotate("bot", "fake-key-2")
    eventually(lambda: "reload fake-key-2" in machine.seen("bot"), "the bot has been told")


def test_identical_content_is_neither_rewritten_nor_notified(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1")
    machine.restart_secretsd()
    machine.host.systemctl("start", "bot")
    before = machine.host.sh("stat -L -c '%i %z' /run/secretsd/bot/env; readlink /run/secretsd/bot")
    machine.rotate("bot", "fake-key-1")
    assert machine.reload_secretsd() == 0
    assert machine.host.sh("stat -L -c '%i %z' /run/secretsd/bot/env; readlink /run/secretsd/bot") == before
    assert machine.seen("bot") == ["start fake-key-1"]
    assert machine.status("bot")["secrets"][0]["version_id"] == machine.aws.version("bot/production")


def test_inactive_bot_is_not_started(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1")
    machine.restart_secretsd()
    machine.rotate("bot", "fake-key-2")
    assert machine.reload_secretsd() == 0
    assert machine.host.show("bot", "ActiveState") == "inactive"
    assert machine.status("bot")["units"][0]["state"] == "inactive"


def test_one_broken_bundle_holds_up_neither_the_others_nor_their_bots(machine: Machine) -> None:
    machine.add_bot("good", "fake-key-1")
    machine.add_bot("broken", None)
    machine.restart_secretsd()
    machine.host.systemctl("start", "good")
    assert machine.seen("good") == ["start fake-key-1"]
    code, said = machine.secretsctl("wait", "broken", "--timeout", "300ms")
    assert code == 75
    assert "broken/production" in said
    assert machine.reload_secretsd() != 0
    code, said = machine.secretsctl("reload")
    assert code == 77
    assert "broken/production" in said
    assert machine.secretsctl("reload", "good") == (0, "up to date and loaded: 1 of 1 bundles\n")


def test_bots_come_up_with_the_host_after_a_reboot(machine: Machine) -> None:
    machine.add_bot("bot", "fake-key-1")
    machine.restart_secretsd()
    machine.host.sh(
        "mkdir -p /etc/systemd/system/multi-user.target.wants && "
        "ln -sf ../bot.service /etc/systemd/system/multi-user.target.wants/ && "
        "echo 'd /run/bots 1777' > /etc/tmpfiles.d/bots.conf"
    )
    machine.host.reboot()
    machine.host.wait_active("bot.service")
    assert machine.seen("bot") == ["start fake-key-1"]
    assert machine.status("bot")["state"] in ("published", "loaded")
    eventually(lambda: machine.status("bot")["state"] == "loaded", "the bot counts as loaded")
    assert machine.seen("bot") == ["start fake-key-1"], "a bot that has just started is not told again"
