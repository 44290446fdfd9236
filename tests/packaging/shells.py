"""The three shells with secretsctl's completion, asked what they would offer for a line."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = ("market-maker", "trading-bot")

# What the completion calls: it knows the bundles where it is asked over the right socket, and notes the rest.
_SECRETSCTL = """#!/bin/bash
case "$*" in
    "status --names" | "--socket"[\\ =]"/a/socket status --names") printf '%s\\n' @BUNDLES@ ;;
    *"status --names") echo "secretsctl: refused" >&2; exit 77 ;;
    *) printf '%s\\n' "$@" >"$LOG" ;;
esac
"""
_QUIET_S = 0.4
_LIFE_S = 20.0


class Home:
    """A directory with the completions where each shell looks, and a secretsctl that knows two bundles."""

    def __init__(self, path: Path) -> None:
        self.path, self.log = path, path / "log"
        stub = path / "bin" / "secretsctl"
        stub.parent.mkdir()
        stub.write_text(_SECRETSCTL.replace("@BUNDLES@", " ".join(BUNDLES)))
        stub.chmod(0o755)
        (path / "config.toml").touch()
        for shell, target in (
            ("bash", "completions/secretsctl"),
            ("zsh", "_secretsctl"),
            ("fish", "c.fish"),
        ):
            (path / target).parent.mkdir(exist_ok=True)
            (path / target).write_text(completion(shell))
        self.environment = {
            "PATH": f"{path / 'bin'}:/usr/bin:/bin",
            "HOME": str(path),
            "LOG": str(self.log),
            "TERM": "xterm",
            "LC_ALL": "C.UTF-8",
            "BASH_COMPLETION_USER_DIR": str(path),
        }

    def run(self, *command: str) -> list[str]:
        """The lines that the command prints; that it prints an error is a failure."""
        done = subprocess.run(
            command, env=self.environment, cwd=self.path, capture_output=True, text=True, check=False
        )
        assert done.stderr == ""
        return done.stdout.splitlines()


def completion(shell: str) -> str:
    script = ROOT / "packaging" / "shell_completion.py"
    command = [sys.executable, script, shell]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


_BASH = """
source /usr/share/bash-completion/bash_completion
_completion_loader secretsctl
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_secretsctl
printf '%s\\n' "${COMPREPLY[@]}"
"""


def in_bash(home: Home, line: str) -> list[str]:
    if not Path("/usr/share/bash-completion/bash_completion").exists():
        pytest.skip("bash-completion is not installed")
    words = line.replace("=", " = ").split(" ")  # as readline parts them
    return [word for word in home.run("bash", "-c", _BASH, "bash", *words) if word]


def in_fish(home: Home, line: str) -> list[str]:
    needs("fish")
    offered = home.run("fish", "-N", "-c", f"source c.fish; complete -C '{line}'")
    return [candidate.split("\t")[0] for candidate in offered]


def in_zsh(home: Home, line: str) -> list[str]:
    """What the line has become after a tab, in words without `secretsctl`: the shell itself runs it."""
    needs("zsh")
    home.log.unlink(missing_ok=True)
    with Zsh(home) as zsh:
        zsh.type(f"{line}\t")
        zsh.type("\n", until=lambda: home.log.exists() and home.log.read_text() != "")
    return home.log.read_text().splitlines()


class Zsh:
    """An interactive zsh on a terminal of its own."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def __enter__(self) -> Self:
        self._ours, theirs = pty.openpty()
        self._child = subprocess.Popen(
            ["zsh", "-f", "-i"],
            env=self._home.environment,
            cwd=self._home.path,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        ready = self._home.path / "ready"
        ready.unlink(missing_ok=True)
        self.type(
            "fpath=($HOME $fpath); autoload -Uz compinit; compinit -u -D; : >ready\n", until=ready.exists
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        os.close(self._ours)

    def type(self, text: str, *, until: Callable[[], bool] | None = None) -> None:
        """Returns when `until` holds; without it when the shell has been quiet for a while."""
        os.write(self._ours, text.encode())
        deadline = time.monotonic() + _LIFE_S
        while time.monotonic() < deadline:
            is_quiet = not select.select([self._ours], [], [], _QUIET_S)[0]
            if not is_quiet:
                os.read(self._ours, 65536)
            if until() if until else is_quiet:
                return
        raise AssertionError("the shell does not do what was typed")
