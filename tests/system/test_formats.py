"""Every format from AWS to its file on a real machine, and files as systemd's credentials."""

from __future__ import annotations

import json

import pytest

from tests.canary.spellings import MARKER
from tests.system.machine import Machine, on_bookworm

pytestmark = pytest.mark.system

KEYSTORE = bytes(range(256)) + MARKER.encode()

_BUNDLE = """
[bundles.bot]
owner = "bot"

[[bundles.bot.secrets]]
source = "aws"
id = "bot/production"

[[bundles.bot.secrets]]
source = "aws"
id = "bot/keystore"
variable = "KEYSTORE"

[bundles.bot.variables]
API_KEY = { min_length = 4 }

[[bundles.bot.outputs]]
path = "secrets"
format = "files"
"""
_TEXT_BUNDLE = """
[bundles.text]
owner = "bot"

[[bundles.text.secrets]]
source = "aws"
id = "bot/production"

[bundles.text.variables]
API_KEY = {}
"""
_CREDENTIALS_UNIT = """
[Service]
Type=oneshot
User=bot
LoadCredential=bot:/run/secretsd/bot/secrets
ExecStart=/bin/sh -c 'cp "$CREDENTIALS_DIRECTORY"/bot_* /run/bots/'
"""


@pytest.fixture
def bot(machine: Machine) -> Machine:
    """The machine with a bundle that has a binary secret and one that has every format of text."""
    machine.host.sh("useradd --system bot && mkdir -m 1777 /run/bots")
    machine.aws.create("bot/production", {"API_KEY": "it's fake"})
    machine.aws.create("bot/keystore", KEYSTORE)
    texts = "".join(
        f'\n[[bundles.text.outputs]]\npath = "{name}"\nformat = "{name}"\n'
        for name in ("env", "docker", "dotenv", "node", "universal", "json")
    )
    machine.host.put("/etc/secretsd/conf.d/bot.toml", _BUNDLE + _TEXT_BUNDLE + texts)
    machine.restart_secretsd()
    return machine


def test_every_format_is_published_for_its_owner_alone(bot: Machine) -> None:
    found = {line.rpartition("/")[2]: line for line in bot.published_files() if "/.copies/" not in line}
    files = ("API_KEY", "KEYSTORE", "env", "docker", "dotenv", "node", "universal", "json")
    assert [found[name].split()[:3] for name in files] == [["f", "600", "bot"]] * len(files)
    assert found["secrets"].split()[:3] == ["d", "750", "secretsd"]
    assert bot.host.read("/run/secretsd/bot/secrets/KEYSTORE").encode("utf-8", "surrogateescape") == KEYSTORE
    assert bot.host.read("/run/secretsd/text/docker") == "API_KEY=it's fake\n"
    assert json.loads(bot.host.read("/run/secretsd/text/json")) == {"API_KEY": "it's fake"}
    for path in ("secrets", "secrets/API_KEY"):
        assert bot.host.run(["ls", f"/run/secretsd/bot/{path}"], user=65534, check=False).returncode != 0
    assert bot.host.run(["cat", "/run/secretsd/bot/secrets/API_KEY"], user="bot").stdout == "it's fake"


def test_what_one_format_cannot_hold_keeps_the_whole_bundle(bot: Machine) -> None:
    before = bot.published_files()
    bot.aws.put("bot/production", {"API_KEY": f"{MARKER}\r\n"})
    assert bot.secretsctl("reload", "bot")[0] == 0  # a file holds it
    code, said = bot.secretsctl("reload", "text")
    assert code == 65
    for name in ("docker", "node", "universal"):
        assert f"format {name}, output {name}" in said
    assert "API_KEY from bot/production" in said
    assert "MARKER" not in said + bot.host.journal("secretsd")
    assert [line for line in bot.published_files() if "/text/" in line] == [
        line for line in before if "/text/" in line
    ]


def test_a_directory_of_files_becomes_credentials_of_a_unit(bot: Machine) -> None:
    bot.host.put("/etc/systemd/system/uses.service", _CREDENTIALS_UNIT)
    bot.host.systemctl("daemon-reload")
    bot.host.systemctl("start", "uses")
    assert bot.host.read("/run/bots/bot_KEYSTORE").encode("utf-8", "surrogateescape") == KEYSTORE
    assert bot.host.read("/run/bots/bot_API_KEY") == "it's fake"


@on_bookworm
def test_the_installed_render_writes_or_refuses(machine: Machine) -> None:
    command = ["secretsctl", "render", "--dialect", "universal"]
    done = machine.host.run(command, input='{"B": "it\'s fake", "A": "{\\"x\\": 1}"}')
    assert done.stdout == 'A=\'{"x": 1}\'\nB="it\'s fake"\n'
    done = machine.host.run(command, input='{"B": "a\\r", "A": "x", "PATH": "y"}', check=False)
    assert (done.returncode, done.stdout) == (65, "")
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["B", "PATH"]
