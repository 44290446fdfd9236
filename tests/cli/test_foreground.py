"""The daemon as anybody runs it: without systemd, without root, without AWS."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.canary.daemon import Watched
from tests.canary.gate import GATE

ROOT = Path(__file__).resolve().parents[2]
ENV_SOURCE = """
[daemon]
runtime_dir = "{folder}/run"
state_dir = "{folder}/state"
[sources.local]
type = "env"
[[bundles.bot.secrets]]
source = "local"
id = "BOT_SECRETS"
[bundles.bot.variables]
API_KEY = {{}}
"""
WARNING = (
    "source 'local' reads secretsd's own environment, which every process of the daemon's user can read in"
    ' /proc: for development only; use type = "file" or AWS otherwise'
)


def shell(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs what a person would type. The daemon that it leaves behind ends with it."""
    for value in environment.values():
        GATE.learn(value)
    GATE.watch(Watched("conductor", folder / "c.toml", [folder / "daemon.log"]))
    commands = Path(sys.executable).parent
    clean = {"PATH": f"{commands}:/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        ["bash", "-c", f"set -eu; trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n{script}"],
        env=clean, cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_the_example_of_the_readme_does_what_it_says(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    (tmp_path / "shm").mkdir()
    done = shell(script.replace("/dev/shm/", f"{tmp_path}/shm/"), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    promised = re.findall(r"bot/env +# (.*)", script)
    assert len(promised) == 2
    assert [line for line in done.stdout.splitlines() if "API_KEY" in line] == promised
    assert "not-a-real-key" not in done.stderr


def test_the_environment_is_a_source_and_is_warned_of_wherever_it_must_be_seen(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(ENV_SOURCE.format(folder=tmp_path))
    done = shell(
        "secretsctl check-config c.toml; echo ---; secretsd --config c.toml 2>daemon.log & "
        "secretsctl --config c.toml wait bot; cat run/bot/env; secretsctl --config c.toml status",
        tmp_path,
        BOT_SECRETS='{"API_KEY": "not-a-real-key"}',
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"warning: {WARNING}\n" in done.stderr
    assert "API_KEY='not-a-real-key'\n" in done.stdout
    assert f"warning: {WARNING}\n" in done.stdout.partition("---")[2]
    log = (tmp_path / "daemon.log").read_text()
    assert WARNING in log
