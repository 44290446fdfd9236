"""The linters are tests: what they find fails the run."""

from __future__ import annotations

import re
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


_CONFLICT = re.compile(rb"^(<{7}|>{7}) |^={7}$", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def _ours(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [ROOT / name for name in listed.stdout.splitlines()]


def test_no_file_was_left_in_the_middle_of_a_merge() -> None:
    assert _CONFLICT.search(b"one\n" + b"<" * 7 + b" HEAD\ntwo\n" + b"=" * 7 + b"\nthree\n")
    assert [path for path in _ours() if path.is_file() and _CONFLICT.search(path.read_bytes())] == []


def test_the_documents_point_to_files_that_are_there() -> None:
    linked = [(path, target) for path in _ours("*.md") for target in _LINK.findall(path.read_text())]
    assert len(linked) > 20
    assert [(path.name, target) for path, target in linked if not (path.parent / target).exists()] == []
