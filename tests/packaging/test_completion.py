"""The completions, as the real shells use them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from secretsd.cli.main import every_command
from secretsd.cli.render import DIALECTS
from tests.packaging.shells import BUNDLES, ROOT, Home, completion, in_bash, in_fish, in_zsh

Ask = Callable[[Home, str], list[str]]
both = pytest.mark.parametrize("ask", [in_bash, in_fish])
COMMANDS = sorted({command.name.split()[0] for command in every_command()})
OF_KEYS = ["generate", "import", "list", "public-key", "retire", "unwrap", "wrap"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@both
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("secretsctl ", COMMANDS),
        ("secretsctl hist", ["history"]),
        ("secretsctl status ", list(BUNDLES)),
        ("secretsctl rollback tra", ["trading-bot"]),
        ("secretsctl --socket /a/socket wait ", list(BUNDLES)),
        ("secretsctl --socket=/a/socket wait ", list(BUNDLES)),
        ("secretsctl wait --timeout 5s ", list(BUNDLES)),
        ("secretsctl status --na", ["--names"]),
        ("secretsctl rollback trading-bot --rea", ["--reason"]),
        ("secretsctl --sock", ["--socket"]),
        ("secretsctl check-config conf", ["config.toml"]),
        ("secretsctl status --config conf", ["config.toml"]),
        ("secretsctl render --dialect ", sorted(DIALECTS)),
        ("secretsctl render --dialect do", ["docker", "dotenv"]),
        ("secretsctl ack trading-bot ", []),
        ("secretsctl reload --timeout ", []),
        ("secretsctl status trading-bot ", []),
        ("secretsctl --socket /closed status ", []),
        ("secretsctl keys ", OF_KEYS),
        ("secretsctl keys ret", ["retire"]),
        ("secretsctl keys import hot --form", ["--format"]),
        ("secretsctl keys import hot --format b", ["base64"]),
        ("secretsctl keys import --in conf", ["config.toml"]),
        ("secretsctl keys retire hot ", []),
        ("secretsctl keys wrap hot -o conf", ["config.toml"]),
        ("secretsctl keys public-key --sig", ["--signer-socket"]),
        ("secretsctl sign hot --marshaling ", ["asn1", "eth", "jws"]),
    ],
)
def test_a_shell_offers_what_can_stand_there(home: Home, ask: Ask, line: str, offered: list[str]) -> None:
    assert sorted(ask(home, line)) == offered


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("secretsctl hist", ["history"]),
        ("secretsctl status tra", ["status", "trading-bot"]),
        ("secretsctl --socket /a/socket wait mark", ["--socket", "/a/socket", "wait", "market-maker"]),
        ("secretsctl --socket /closed wait mark", ["--socket", "/closed", "wait", "mark"]),
        ("secretsctl status --no", ["status", "--no-color"]),
        ("secretsctl wait --timeout 5s tra", ["wait", "--timeout", "5s", "trading-bot"]),
        ("secretsctl check-config conf", ["check-config", "config.toml"]),
        ("secretsctl render --dialect uni", ["render", "--dialect", "universal"]),
        ("secretsctl reload --timeout conf", ["reload", "--timeout", "conf"]),
        ("secretsctl keys ret", ["keys", "retire"]),
        ("secretsctl keys import hot --format b", ["keys", "import", "hot", "--format", "base64"]),
        ("secretsctl keys import --in conf", ["keys", "import", "--in", "config.toml"]),
        ("secretsctl sign hot --marsh", ["sign", "hot", "--marshaling"]),
    ],
)
def test_zsh_completes_what_can_stand_there(home: Home, line: str, words: list[str]) -> None:
    assert in_zsh(home, line) == words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_and_option_can_be_completed(shell: str) -> None:
    script = completion(shell)
    for option in ("names", "max-age", "allow-stale", "to", "reason", "no-color", "socket", "config"):
        assert f"-l {option}" in script or f"--{option}" in script, option
    for name in COMMANDS:
        assert name in script


def test_the_script_for_bash_is_clean() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(
        ["shellcheck", "--shell=bash", "-"],
        input=completion("bash"),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_an_unknown_shell_is_wrong_usage() -> None:
    script = ROOT / "packaging" / "shell_completion.py"
    done = subprocess.run([sys.executable, script, "tcsh"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (64, "")
