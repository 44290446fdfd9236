"""What a newcomer reads: every command explains itself, and nothing runs over the edge."""

from __future__ import annotations

import re
import shlex

import pytest

from secretsd.cli import arguments as arguments_
from secretsd.cli import asking, main
from secretsd.cli.command import Command
from secretsd.cli.main import GROUPS, every_command, make_parser
from tests.cli.test_exit_codes import end_of

NAMES = [command.name for command in every_command()]


def help_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        make_parser().parse_args([*words, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_help_lists_every_command_in_its_group_and_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys)
    for title, group in GROUPS:
        assert re.search(rf"^{title}:$", text, re.MULTILINE)
        for command in group:
            assert f"  {command.name.ljust(max(map(len, NAMES)))}  {command.summary[:30]}" in text
    assert text.index("status") < text.index("options:")


@pytest.mark.parametrize("command", every_command(), ids=lambda command: command.name)
def test_the_help_of_a_command_has_all_that_a_newcomer_needs(
    capsys: pytest.CaptureFixture[str], command: Command
) -> None:
    text = help_of(capsys, *command.name.split())
    assert text.startswith(f"usage: secretsctl {command.name}")
    assert " ".join(command.description.split()[:8]) in " ".join(text.split())
    codes = text.partition("\nexit codes:\n")[2]
    assert re.search(r"^   0  \w", codes, re.MULTILINE)
    assert re.search(r"^  64  wrong usage", codes, re.MULTILINE)
    assert text.partition("\nexamples:\n")[2].strip()


@pytest.mark.parametrize("command", every_command(), ids=lambda command: command.name)
def test_every_example_is_a_command_line_that_is_understood(command: Command) -> None:
    lines = [line for line in command.examples.splitlines() if not line.startswith("#")]
    assert lines
    for line in lines:
        words = shlex.split(
            re.sub(r'"\$\(.*\)"', "7", line.removeprefix("ExecStartPre=/usr/bin/")), comments=True
        )
        assert words[0] == "secretsctl" or "secretsctl" in words
        words = words[words.index("secretsctl") + 1 :]
        assert " ".join(words).startswith(f"{command.name} ") or words == command.name.split()
        stop = next((n for n, word in enumerate(words) if word in ("|", "<", ">")), len(words))
        make_parser().parse_args(words[:stop])


@pytest.mark.parametrize("columns", [64, 80, 100])
def test_no_help_is_wider_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    monkeypatch.setattr(arguments_, "_columns", lambda: columns)
    for words in ([], *(name.split() for name in NAMES), ["keys"]):
        text = help_of(capsys, *words).partition("\nexamples:\n")[0]
        assert [line for line in text.splitlines() if len(line) > columns] == []


def test_secretsctl_alone_is_wrong_usage_with_the_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end_of(monkeypatch) == 64
    written = capsys.readouterr()
    assert written.out == ""
    assert "in a bot's unit:" in written.err


def test_a_slip_is_one_line_with_what_was_meant(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end_of(monkeypatch, "statsu") == 64
    assert capsys.readouterr().err == (
        "secretsctl: argument COMMAND: no 'statsu'; did you mean status?: see secretsctl --help\n"
    )
    assert end_of(monkeypatch, "rollback", "bot", "--to", "last") == 64
    assert capsys.readouterr().err == (
        "secretsctl rollback: argument --to: a generation is a number: see secretsctl history BUNDLE: "
        "see secretsctl rollback --help\n"
    )


@pytest.mark.parametrize("option", ["--time", "--js", "--no-col"])
def test_an_option_is_never_abbreviated(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    monkeypatch.setattr(asking, "ask_and_wait", lambda *_, **__: pytest.fail("it was understood"))
    assert end_of(monkeypatch, "reload", option, "5s") == 64


def test_a_reason_that_is_no_sentence_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "ask", lambda *_, **__: pytest.fail("it was sent"))
    for reason in ("x" * 201, "\x1b[2J"):
        assert end_of(monkeypatch, "hold", "bot", "--reason", reason) == 64


def test_every_command_is_there_once() -> None:
    assert len(NAMES) == len(set(NAMES))
    assert main.every_command()
