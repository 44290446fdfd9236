"""The manual pages: clean, and about the commands that there are."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import secretsd
from secretsd.cli.main import every_command, make_parser

ROOT = Path(__file__).resolve().parents[2]


def secretsctl_page() -> str:
    script = ROOT / "packaging" / "manual_page.py"
    return subprocess.run([sys.executable, script], check=True, stdout=subprocess.PIPE, text=True).stdout


def shown(page: str) -> tuple[str, str]:
    """The page as a reader has it, without emphasis, and what man warns of."""
    if shutil.which("man") is None or shutil.which("groff") is None:
        pytest.skip("man is not installed")
    done = subprocess.run(
        ["man", "--warnings=w", "--local-file", "-"],
        input=page,
        env={"PATH": "/usr/bin:/bin", "MANWIDTH": "120", "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": ""},
        check=False,
        capture_output=True,
        text=True,
    )
    return re.sub(r".\x08|\x1b\[\d*m", "", done.stdout), done.stderr


def test_man_warns_of_a_planted_mistake() -> None:
    text, warnings = shown('.TH X 1\n.SH NAME\nx \\- y\n.BR "a" \\fQ\n.nosuchrequest\n')
    assert "x" in text
    assert "nosuchrequest" in warnings


@pytest.mark.parametrize("name", ["secretsctl.1", "secretsd.8"])
def test_man_has_nothing_to_warn_of(name: str) -> None:
    page = ROOT / "packaging" / "man" / name
    text, warnings = shown(secretsctl_page() if name == "secretsctl.1" else page.read_text(encoding="utf-8"))
    assert text
    assert warnings == ""


def leaves(parser: argparse.ArgumentParser, name: str = "") -> dict[str, argparse.ArgumentParser]:
    below = [action.choices for action in parser._actions if isinstance(action.choices, dict)]
    found = {
        whole: leaf
        for choices in below
        for word, each in choices.items()
        for whole, leaf in leaves(each, f"{name} {word}".strip()).items()
    }
    return found or {name: parser}


def test_every_command_and_every_option_stands_in_the_page() -> None:
    text, _ = shown(secretsctl_page())
    parsers = leaves(make_parser())
    assert set(parsers) == {command.name for command in every_command()}
    sections = re.split(r"^   (?=\w)", text, flags=re.MULTILINE)
    for name, parser in parsers.items():
        (section,) = [part for part in sections if part.splitlines()[0] == name]
        assert f"secretsctl {name}" in section
        for action in parser._actions:
            for flag in action.option_strings:
                assert flag in (
                    section
                    if flag not in ("-h", "--help", "--socket", "--config", "--signer-socket")
                    else text
                )


def test_examples_can_be_copied() -> None:
    text, _ = shown(secretsctl_page())
    for command in every_command():
        for line in command.examples.splitlines():
            assert line in text, "a hyphen that is no minus, or a quote that was bent"


@pytest.mark.parametrize("name", ["secretsctl.1.in", "secretsd.8"])
def test_a_page_names_the_version_that_it_is_about(name: str) -> None:
    head = (ROOT / "packaging" / "man" / name).read_text(encoding="utf-8").splitlines()[0]
    assert f'"secretsd {secretsd.__version__}"' in head
