"""The command lines of secretsd and secretsctl: how they are read, and how their help looks."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import secretsd
from secretsd.config.disk import INSTALLED_CONFIG
from secretsd.errors import ExitCode
from secretsd.timespan import parse_timespan

_LONGEST_LINE = 100
_NARROWEST = 40
_ASKING_FOR_HELP = ("-h", "--help")


class Parser(argparse.ArgumentParser):
    """Ends the process with 64 and one line after wrong usage (sysexits.h), not with argparse's own 2."""

    first_command = ""  # of a family: what its name alone means, and its name with options

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", HelpFormatter)
        # No abbreviations: the next option that is added would break the scripts that use them.
        super().__init__(allow_abbrev=False, **settings)
        self._positionals.title = "arguments"

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = args
        if self.first_command and not (args and (args[0][:1] != "-" or args[0] in _ASKING_FOR_HELP)):
            words = [self.first_command, *(args or ())]
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        from secretsd.cli.paper import fitted  # only for who has mistyped

        text = fitted(f"{self.prog}: {message}: see {self.prog} --help", sys.stderr)
        self.exit(ExitCode.USAGE, f"{text}\n")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, _no_choice(str(value), [str(c) for c in action.choices]))


def _no_choice(value: str, choices: list[str]) -> str:
    from difflib import get_close_matches  # only for who has mistyped

    near = get_close_matches(value, choices, 1)
    return (
        f"{value!r} is none of {', '.join(choices)}" if not near else f"no {value!r}; did you mean {near[0]}?"
    )


def daemon_arguments(prog: str, description: str, epilog: str) -> argparse.Namespace:
    """The command line of one of the daemons: `config` is the file it reads."""
    parser = Parser(prog=prog, description=description, epilog=epilog)
    parser.add_argument(
        "--config", type=Path, default=INSTALLED_CONFIG, metavar="FILE", help=f"default: {INSTALLED_CONFIG}"
    )
    parser.add_argument("--version", action="version", version=f"{prog} {secretsd.__version__}")
    return parser.parse_args()


class HelpFormatter(argparse.HelpFormatter):
    """Fills paragraphs, and leaves lines alone that begin with a blank: lists and examples."""

    def __init__(self, prog: str) -> None:
        # The width is given, or argparse would import shutil and its compressors for it.
        super().__init__(prog, max_help_position=28, width=min(_columns(), _LONGEST_LINE))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(self._fill_paragraph(part, width, indent) for part in text.split("\n\n"))

    @staticmethod
    def _fill_paragraph(text: str, width: int, indent: str) -> str:
        if any(line.startswith(" ") for line in text.splitlines()):
            return textwrap.indent(text, indent)
        return textwrap.fill(" ".join(text.split()), width, initial_indent=indent, subsequent_indent=indent)


def _columns() -> int:
    try:
        return max(os.get_terminal_size(sys.stdout.fileno()).columns, _NARROWEST)
    except (AttributeError, OSError, ValueError):
        return _LONGEST_LINE


def listing(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and what they mean, aligned, for a help text."""
    pairs = list(pairs)
    wide = max(len(name) for name, _ in pairs)
    room = min(_columns(), _LONGEST_LINE) - wide - 4
    lines = []
    for name, meaning in pairs:
        first, *more = textwrap.wrap(meaning, max(room, 20)) or [""]
        lines += [f"  {name.ljust(wide)}  {first}", *(" " * (wide + 4) + line for line in more)]
    return "\n".join(lines)


def timespan(text: str) -> str:
    """For argparse's `type`: the text as it is, once it is known to be a time span."""
    try:
        parse_timespan(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def generation(text: str) -> int:
    """For argparse's `type`."""
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError("a generation is a number: see secretsctl history BUNDLE")
    return int(text)


def key_version(text: str) -> int:
    """For argparse's `type`."""
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 1_000_000):
        raise argparse.ArgumentTypeError("a version of a key is a number from 1: see secretsctl keys list")
    return int(text)
