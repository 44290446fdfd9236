"""What a command of secretsctl is: its help, its arguments, and what it runs."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from secretsd.cli import fast
from secretsd.cli.arguments import Parser, listing

# What every command that asks the daemon can end with; a command's own words come before these.
_CODES_OF_THE_DAEMON = {
    64: "wrong usage, or no such bundle",
    75: "secretsd does not answer: try again",
    77: "you may not: only root and members of the group secretsd-admin may",
}
_CODES = {64: "wrong usage"}

FOR_OWNERS = {77: "you may not: only root, the group secretsd-admin and the bundle's owner may"}


class Command(NamedTuple):
    """One command. `description` are paragraphs, the first of which stands in for the summary's details."""

    name: str
    summary: str  # one line of `secretsctl --help`
    description: str
    examples: str  # a command line each; "# " begins what is said about it
    codes: Mapping[int, str]  # exit code -> what it means here, beyond the usual
    arguments: Callable[[Parser], None]
    run: Callable[[argparse.Namespace], int]
    asks_daemon: bool = True

    def exit_codes(self) -> dict[int, str]:
        """Every code that the command can end with, but for 70."""
        usual = _CODES_OF_THE_DAEMON if self.asks_daemon else _CODES
        return dict(sorted({**usual, **self.codes}.items()))

    def epilog(self) -> str:
        codes = listing((f"{code:>2}", meaning) for code, meaning in self.exit_codes().items())
        return f"exit codes:\n{codes}\n\nexamples:\n{textwrap.indent(self.examples, '  ')}"


def parser_of(commands: argparse._SubParsersAction[Parser], command: Command) -> Parser:
    """The command's parser, added to `commands`."""
    parser = commands.add_parser(
        command.name,
        prog=f"secretsctl {command.name}",
        description=command.description,
        epilog=command.epilog(),
    )
    parser.set_defaults(run=command.run)
    command.arguments(parser)
    if command.asks_daemon:
        add_socket(parser, default=argparse.SUPPRESS)
    return parser


def add_bundle(parser: Parser, *, or_all: bool = False) -> None:
    if or_all:
        parser.add_argument("bundle", nargs="?", metavar="BUNDLE", help="only this one; default: all of them")
    else:
        parser.add_argument("bundle", metavar="BUNDLE", help="the bundle's name, as in secretsctl status")


def add_json(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--json", action="store_true", help="for programs: a JSON document, see JSON in secretsctl(1)"
    )


def add_color(parser: Parser) -> None:
    parser.add_argument(
        "--no-color", action="store_true", help="plain text, as with NO_COLOR in the environment"
    )


def add_socket(parser: Parser, *, default: str | None) -> None:
    """Where the daemon is; understood before the command's name and after it."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--socket", metavar="PATH", default=default,
        help=f"the daemon's control socket; default: ${fast.SOCKET_VARIABLE} or {fast.DEFAULT_SOCKET}",
    )  # fmt: skip
    where.add_argument(
        "--config", type=Path, metavar="FILE", default=default,
        help="take the control socket from this configuration, for a daemon in the foreground",
    )  # fmt: skip
