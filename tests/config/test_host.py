from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from secretsd.config.files import read_tables
from secretsd.config.load import check_host, load_checked
from tests.config.support import CHANGE, GOOD

if TYPE_CHECKING:
    import pytest

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
        "secretsd.toml:12: unknown key 'x'; known here: source, id, stage, version, variable, variables",
    ]


def test_check_host_alone(etc: Etc) -> None:
    config = etc.load(GOOD.replace('"root"', '"rooot"'))
    assert check_host(config, read_tables(etc.main)) == [
        f"{etc.main}:7: 'owner' is no user of this host; did you mean 'root'?"
    ]


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
