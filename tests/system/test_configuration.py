"""The installed package without AWS: files as a source, under the sandbox; the manual; a draft."""

from __future__ import annotations

import tomllib

import pytest

from tests.canary.scan import shows
from tests.canary.spellings import MARKER
from tests.system.machine import Machine, on_bookworm

pytestmark = pytest.mark.system

_CONFIGURATION = """
[daemon]
refresh_interval = "1h"
[sources.local]
type = "file"
directory = "/etc/secretsd/development"
[bundles.bot]
owner = "nobody"
groups = [["API_KEY", "API_SECRET"]]
[[bundles.bot.secrets]]
source = "local"
id = "bot.json"
[bundles.bot.variables]
API_KEY = {}
API_SECRET = {}
"""


def test_the_manual_is_installed_with_an_example_of_each_option(machine: Machine) -> None:
    page = machine.host.run(["gzip", "-dc", "/usr/share/man/man5/secretsd.toml.5.gz"]).stdout
    assert "\\fBmin_entropy_bits\\fR" in page
    options = "/usr/share/doc/secretsd/examples/all-options.toml"
    assert "#min_entropy_bits = 80\n" in machine.host.run(["cat", options]).stdout
    assert "no mistakes" in machine.host.run(["secretsctl", "check-config", options]).stdout


@on_bookworm
def test_files_are_a_source_under_the_sandbox_and_the_error_of_each_has_its_code(machine: Machine) -> None:
    host = machine.host
    host.run(["install", "-d", "-o", "root", "-g", "secretsd", "-m", "750", "/etc/secretsd/development"])
    file = "/etc/secretsd/development/bot.json"

    def put(text: str, mode: str = "640") -> None:
        host.put(file, text)
        host.run(["chown", "root:secretsd", file])
        host.run(["chmod", mode, file])

    put(f'{{"API_KEY": "{MARKER}", "API_SECRET": "{MARKER}", "x-y": 1}}')
    host.put("/etc/secretsd/secretsd.toml", _CONFIGURATION)
    assert "no mistakes" in host.run(["secretsctl", "check-config"]).stdout
    host.run(["secretsctl", "reload"])
    assert f"API_KEY='{MARKER}'" in host.run(["cat", "/run/secretsd/bot/env"]).stdout

    draft = host.run(["secretsctl", "schema", "bot"]).stdout
    rules = tomllib.loads(draft)["bundles"]["bot"]["variables"]
    assert rules == {"API_KEY": {"min_length": 16}, "API_SECRET": {"min_length": 16}}
    assert "# x-y of bot.json cannot be a variable's name" in draft
    assert not shows(draft)
    head, _, _ = _CONFIGURATION.partition("[bundles.bot.variables]")
    host.put("/etc/secretsd/secretsd.toml", f"{head}\n{draft}")
    host.run(["secretsctl", "reload"])

    put(f'{{"API_KEY": "{MARKER}"}}')
    half = host.run(["secretsctl", "reload"], check=False)
    assert half.returncode == 65
    assert "API_SECRET is missing" in half.stderr
    put(f'{{"API_KEY": "{MARKER}", "API_SECRET": "{MARKER}"}}', mode="600")
    assert host.run(["secretsctl", "reload"], check=False).returncode == 77
    host.run(["rm", file])
    gone = host.run(["secretsctl", "reload"], check=False)
    assert gone.returncode == 77
    assert "there is no file bot.json in source local" in gone.stderr
    assert f"API_KEY='{MARKER}'" in host.run(["cat", "/run/secretsd/bot/env"]).stdout
