"""secretsctl's command line as values, read from its own parser: for the manual page and the completions."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from secretsd.cli.command import Command
from secretsd.cli.main import GROUPS, make_parser

# What a value is, by the name that its help gives it.
_KINDS = {"BUNDLE": "bundle", "FILE": "file", "PATH": "file"}


class Argument(NamedTuple):
    """An option or, without flags, a place in the line."""

    flags: tuple[str, ...]
    metavar: str  # empty for an option without a value
    help: str
    choices: tuple[str, ...]
    is_needed: bool

    @property
    def kind(self) -> str:
        """What its value is: "bundle", "file", "choice", "text"; empty for an option without one."""
        if self.choices:
            return "choice"
        return _KINDS.get(self.metavar, "text") if self.metavar else ""


class Line(NamedTuple):
    """One command with everything that can stand behind it."""

    command: Command
    options: tuple[Argument, ...]
    places: tuple[Argument, ...]


def groups() -> list[tuple[str, list[Line]]]:
    """Titles with their commands, in the order of the help."""
    parsers = _subparsers(make_parser())
    return [(title, [_line(command, parsers[command.name]) for command in group]) for title, group in GROUPS]


def lines() -> list[Line]:
    return [line for _, group in groups() for line in group]


def global_options() -> tuple[Argument, ...]:
    """What can stand before the command's name."""
    return tuple(argument for argument in _arguments(make_parser()) if argument.flags)


def _line(command: Command, parser: argparse.ArgumentParser) -> Line:
    arguments = _arguments(parser)
    return Line(command, tuple(a for a in arguments if a.flags), tuple(a for a in arguments if not a.flags))


def families() -> dict[str, list[str]]:
    """The names of two words, by the first of them: `keys` -> `list`, `generate`."""
    found: dict[str, list[str]] = {}
    for line in lines():
        family, _, name = line.command.name.rpartition(" ")
        if family:
            found.setdefault(family, []).append(name)
    return found


def first_words() -> dict[str, str]:
    """What can stand first, with what it is."""
    told: dict[str, str] = {}
    for line in lines():
        family = line.command.name.partition(" ")[0]
        told.setdefault(
            family, line.command.summary if family == line.command.name else _of(family, families()[family])
        )
    return told


def _of(family: str, names: list[str]) -> str:
    return f"{family} {', '.join(names[:-1])} and {names[-1]}"


def _subparsers(parser: argparse.ArgumentParser, family: str = "") -> dict[str, argparse.ArgumentParser]:
    """By the whole name of the command."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                found |= _subparsers(below, f"{family} {name}".strip())
    return found or {family: parser}


def _arguments(parser: argparse.ArgumentParser) -> list[Argument]:
    return [
        _argument(action)
        for action in parser._actions
        if action.help is not argparse.SUPPRESS and not isinstance(action, argparse._SubParsersAction)
    ]


def _argument(action: argparse.Action) -> Argument:
    takes_value = action.nargs != 0
    choices = tuple(map(str, action.choices or ()))
    metavar = action.metavar or ("|".join(choices) if choices else action.dest.upper())
    return Argument(
        flags=tuple(action.option_strings),
        metavar=str(metavar) if takes_value else "",
        help=(action.help or "").replace("%%", "%"),
        choices=choices,
        is_needed=action.required if action.option_strings else action.nargs not in ("?", "*"),
    )
