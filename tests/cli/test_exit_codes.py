"""A unit goes by the exit code: nothing ends with a code that means something else."""

from __future__ import annotations

import sys

import pytest

from secretsd.cli import __main__ as entry
from secretsd.cli import fast
from secretsd.cli.arguments import Parser
from secretsd.control import client

MARKER = "marker-77aa-never-in-a-message"


def end_of(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of `secretsctl ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["secretsctl", *arguments])
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["wait"],
        ["wait", "--timeout", "soon", "bot"],
        ["status", "--colour"],
        ["ack", "b", "x"],
    ],
)
def test_wrong_usage_is_64_and_names_the_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert end_of(monkeypatch, *arguments) == 64
    assert "--help" in capsys.readouterr().err


def test_the_daemons_wrong_usage_is_64_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Parser(prog="secretsd").parse_args(["--confg"])
    assert ended.value.code == 64
    assert capsys.readouterr().err.endswith(
        "secretsd: unrecognized arguments: --confg: see secretsd --help\n"
    )


@pytest.mark.parametrize(
    ("arguments", "place"), [(["wait", "bot"], (fast, "wait")), (["plan"], (client, "ask"))]
)
def test_a_bug_is_70_and_one_line_that_quotes_nothing(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    place: tuple[object, str],
) -> None:
    def broken(*_: object, **__: object) -> int:
        raise LookupError(MARKER)

    monkeypatch.setattr(*place, broken)
    assert end_of(monkeypatch, *arguments) == 70
    assert capsys.readouterr().err == "secretsctl: this is a bug (LookupError): report it with the command\n"


@pytest.mark.parametrize(
    ("arguments", "place"), [(["wait", "bot"], (fast, "wait")), (["plan"], (client, "ask"))]
)
def test_an_interrupted_command_says_try_again(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], place: tuple[object, str]
) -> None:
    def interrupted(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(*place, interrupted)
    assert end_of(monkeypatch, *arguments) == 75
