"""The linters are tests: what they find fails the run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)],
    ids=" ".join,
)
def test_python_is_clean(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_shell_is_clean() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    listed = subprocess.run(
        [ROOT / "packaging" / "dev" / "shell-scripts"], check=True, capture_output=True, text=True
    )
    scripts = listed.stdout.split()
    assert scripts
    done = subprocess.run(["shellcheck", *scripts], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
