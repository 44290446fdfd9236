from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING, Any

import pytest

from secretsd.config import load
from secretsd.config.load import load_checked
from tests.config.support import CHANGE, GOOD

if TYPE_CHECKING:
    from tests.config.support import Etc


def me() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def test_an_unknown_owner_and_the_nearest_user(etc: Etc) -> None:
    assert etc.problems_on_this_host(GOOD.replace('"root"', '"rooot"')) == [
        "secretsd.toml:7: 'owner' is no user of this host; did you mean 'root'?"
    ]
    assert etc.problems_on_this_host(GOOD.replace('"root"', '"zq-x-none"')) == [
        "secretsd.toml:7: 'owner' is no user of this host; create the user first"
    ]
    assert etc.load(GOOD.replace('"root"', '"rooot"')), "another host may have that user"


def test_host_and_file_mistakes_come_together(etc: Etc) -> None:
    assert etc.problems_on_this_host(GOOD.replace('"root"', '"rooot"') + "x = 1\n") == [
        "secretsd.toml:7: 'owner' is no user of this host; did you mean 'root'?",
        "secretsd.toml:12: unknown key 'x'; known here: source, id, stage, version, label, variable,"
        " variables",
    ]


@pytest.fixture
def installed(etc: Etc, monkeypatch: pytest.MonkeyPatch) -> Etc:
    """An /etc/secretsd of the installed service, for which who runs the test is root."""
    monkeypatch.setattr(load, "INSTALLED_CONFIG", etc.main)
    monkeypatch.setattr(load, "ROOT_UID", os.geteuid())
    etc.write(GOOD).chmod(0o644)
    etc.write("", "conf.d/good.toml").chmod(0o644)
    (etc.directory / "conf.d").chmod(0o755)
    assert load_checked(etc.main)
    return etc


def test_a_drop_in_that_the_root_helper_would_refuse_is_told_before_a_bot_misses_a_rotation(
    installed: Etc,
) -> None:
    installed.write("", "conf.d/bot.toml").chmod(0o664)
    (installed.directory / "conf.d" / "link.toml").symlink_to("good.toml")
    assert installed.problems_on_this_host() == [
        "conf.d/bot.toml: is writable by group or others: chmod go-w conf.d/bot.toml",
        "conf.d/link.toml: is a symbolic link that is not followed here; put what it points to in its place",
    ]
    assert load.load(installed.main), "what holds on any host does not depend on this one's files"


def test_an_installed_configuration_that_is_not_roots_is_told(
    installed: Etc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "ROOT_UID", os.geteuid() + 1)
    (problem,) = installed.problems_on_this_host()
    assert f"belongs to uid {os.geteuid()} and must belong to uid {os.geteuid() + 1}" in problem


def test_a_configuration_of_ones_own_may_have_any_mode(etc: Etc) -> None:
    etc.write(GOOD).chmod(0o664)
    assert load_checked(etc.main)


FOREGROUND = 'runtime_dir = "/tmp/secretsd-demo"'


def test_foreground_needs_no_owner_and_takes_ones_own(etc: Etc) -> None:
    text = GOOD.replace('refresh_jitter = "0"', FOREGROUND)
    etc.write(text.replace('owner = "root"\n', ""))
    assert load_checked(etc.main).bundles["bot"].owner is None
    etc.write(text.replace('"root"', f'"{me()}"'))
    assert load_checked(etc.main).bundles["bot"].owner == me()


def test_foreground_without_root_cannot_give_files_to_others(
    etc: Etc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    text = GOOD.replace('refresh_jitter = "0"', FOREGROUND)
    assert etc.problems_on_this_host(text) == [
        "secretsd.toml:7: 'owner' is another user than the one who runs this: without root, files can only be"
        " your own; name yourself, or leave owner out"
    ]
    etc.write(GOOD)
    assert load_checked(etc.main), "who checks the installed service's configuration need not be root"


ASKS = CHANGE.replace("none", "reload") + 'before = ["/bin/true", "--bot"]\n'


def test_foreground_has_no_helper_that_could_run_before(etc: Etc) -> None:
    text = GOOD.replace('refresh_jitter = "0"', FOREGROUND).replace('"root"', f'"{me()}"') + ASKS
    problems = etc.problems_on_this_host(text)
    assert "secretsd.toml:15: 'before' needs the installed service, whose helper runs it" in problems


def test_a_before_that_is_no_program_is_told_before_a_bot_waits_for_it(etc: Etc) -> None:
    text = GOOD.replace('"root"', '"nobody"') + ASKS
    etc.write(text)
    assert load_checked(etc.main)
    assert etc.problems_on_this_host(text.replace("/bin/true", "/bin/zq-none")) == [
        "secretsd.toml:15: 'before' names a program that does not exist"
    ]
    for path in ("/etc/passwd", "/etc"):
        assert etc.problems_on_this_host(text.replace("/bin/true", path)) == [
            "secretsd.toml:15: 'before' names a file that is no program: chmod +x"
        ]


def test_a_before_that_may_not_be_looked_at_is_taken_on_trust(
    etc: Etc, monkeypatch: pytest.MonkeyPatch
) -> None:
    etc.write(GOOD.replace('"root"', '"nobody"') + ASKS)

    look = os.stat

    def hidden(path: Any, **more: Any) -> os.stat_result:
        if path == "/bin/true":
            raise PermissionError(13, "Permission denied")
        return look(path, **more)

    monkeypatch.setattr(os, "stat", hidden)
    assert load_checked(etc.main), "a home, seen from the daemon's sandbox"


def test_a_time_zone_that_the_host_does_not_have_is_told(etc: Etc) -> None:
    text = GOOD + CHANGE.replace("none", "reload") + "windows = ['Sat', 'Sun Europe/Berlinn']\n"
    assert etc.problems_on_this_host(text) == [
        "secretsd.toml:15: an element of 'windows' names a time zone that this host does not have: check its"
        " spelling, and apt install tzdata"
    ]
    assert etc.load(text), "another host may have that zone"


def test_foreground_cannot_act_on_units_without_a_helper(etc: Etc) -> None:
    text = GOOD.replace('refresh_jitter = "0"', FOREGROUND) + CHANGE.replace("none", "reload")
    assert etc.problems_on_this_host(text) == [
        'secretsd.toml:14: acting on units needs the installed service; set action = "none", or'
        " notify_socket in [daemon] to a helper that runs"
    ]
    etc.write(text.replace(FOREGROUND, FOREGROUND + '\nnotify_socket = "/tmp/n.sock"'))
    assert load_checked(etc.main)
    etc.write(text.replace("reload", "none"))
    assert load_checked(etc.main)


def test_an_alert_command_that_cannot_run_is_told_before_the_night(etc: Etc) -> None:
    program = etc.write("#!/bin/sh\n", "alert")
    text = GOOD.replace("[daemon]", f"[daemon]\nalert_command = ['{program}']\n{FOREGROUND}")
    text = text.replace('owner = "root"\n', f"alert_command = ['{etc.directory}/gone']\n")
    assert etc.problems_on_this_host(text) == [
        "secretsd.toml:2: 'alert_command' names a file that is not executable",
        "secretsd.toml:9: 'alert_command' names a program that cannot be used: No such file or directory",
    ]
    assert etc.load(text), "another host may have them"
    program.chmod(0o755)
    (etc.directory / "gone").symlink_to(program)
    etc.write(text)
    assert load_checked(etc.main)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files of root and of others")
def test_an_alert_command_that_others_could_exchange_is_not_run_by_the_service(installed: Etc) -> None:
    program = installed.write("#!/bin/sh\n", "alert")
    installed.write(GOOD.replace("[daemon]", f"[daemon]\nalert_command = ['{program}']")).chmod(0o644)
    wanted = {
        (0o775, 0): "must belong to root and be writable for nobody else",
        (0o755, 65534): "must belong to root and be writable for nobody else",
        (0o750, 0): "must be executable for the user secretsd",
    }
    for (mode, uid), text in wanted.items():
        program.chmod(mode)
        os.chown(program, uid, 0)
        (problem,) = installed.problems_on_this_host()
        assert text in problem
    program.chmod(0o755)
    os.chown(program, 0, 0)
    assert load_checked(installed.main)
