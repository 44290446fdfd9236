"""What a command of secretsctl is: its help, its arguments, and what it runs."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from secretsd.cli import fast
from secretsd.cli.arguments import Parser, listing

# What every command that asks the daemon can end with; a command's own words come before these.
_CODES_OF_THE_DAEMON = {
    64: "wrong usage, or no such bundle",
    75: "secretsd does not answer: try again",
    77: "you may not: only root and members of the group secretsd-admin may",
}
_CODES_OF_THE_SIGNER = {
    64: "wrong usage, or no such key or version",
    69: "the token does not answer",
    74: "I/O: a file, the output, or the signer's audit log",
    75: "the signer does not answer or has too much to do: try again",
    77: "you may not, or the key may not be used so",
    78: "the signer's configuration, its PIN or the key on the token: see the message",
}
_CODES = {64: "wrong usage"}
_USUAL = {"daemon": _CODES_OF_THE_DAEMON, "signer": _CODES_OF_THE_SIGNER, "nobody": _CODES}

SIGNER_VARIABLE = "SECRETSD_SIGNER_SOCKET"
DEFAULT_SIGNER = "/run/secretsd-signer/signer.sock"

FOR_OWNERS = {77: "you may not: only root, the group secretsd-admin and the bundle's owner may"}


class Command(NamedTuple):
    """One command. `description` are paragraphs, the first of which stands in for the summary's details.

    A name of two words is a command of a family: `keys list`.
    """

    name: str
    summary: str  # one line of `secretsctl --help`
    description: str
    examples: str  # a command line each; "# " begins what is said about it
    codes: Mapping[int, str]  # exit code -> what it means here, beyond the usual
    arguments: Callable[[Parser], None]
    run: Callable[[argparse.Namespace], int]
    asks: Literal["daemon", "signer", "nobody"] = "daemon"

    def exit_codes(self) -> dict[int, str]:
        """Every code that the command can end with, but for 70."""
        return dict(sorted({**_USUAL[self.asks], **self.codes}.items()))

    def epilog(self) -> str:
        codes = listing((f"{code:>2}", meaning) for code, meaning in self.exit_codes().items())
        return f"exit codes:\n{codes}\n\nexamples:\n{textwrap.indent(self.examples, '  ')}"


def parser_of(commands: argparse._SubParsersAction[Parser], command: Command) -> Parser:
    """The command's parser, added to `commands`."""
    parser = commands.add_parser(
        command.name.rpartition(" ")[2],
        prog=f"secretsctl {command.name}",
        description=command.description,
        epilog=command.epilog(),
    )
    parser.set_defaults(run=command.run)
    command.arguments(parser)
    if command.asks == "daemon":
        add_socket(parser, default=argparse.SUPPRESS)
    elif command.asks == "signer":
        _add_signer_socket(parser)
    return parser


def family_of(
    commands: argparse._SubParsersAction[Parser], name: str, members: Iterable[Command]
) -> argparse._SubParsersAction[Parser]:
    """Where the commands `NAME ...` are added to; the name alone is the first of them."""
    first, *_ = members = list(members)
    parser = commands.add_parser(
        name,
        prog=f"secretsctl {name}",
        usage=f"secretsctl {name} COMMAND ...",
        description=listing((each.name.rpartition(" ")[2], each.summary) for each in members),
        epilog=f"`secretsctl {name}` alone is `secretsctl {first.name}`.",
    )
    parser.first_command = first.name.rpartition(" ")[2]
    return parser.add_subparsers(
        prog=f"secretsctl {name}", metavar="COMMAND", help=argparse.SUPPRESS, parser_class=Parser
    )


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


def _add_signer_socket(parser: Parser) -> None:
    parser.add_argument(
        "--signer-socket", metavar="PATH",
        help=f"the signer's HTTP socket; default: ${SIGNER_VARIABLE} or {DEFAULT_SIGNER}",
    )  # fmt: skip
    parser.add_argument(
        "--config", type=Path, metavar="FILE", default=argparse.SUPPRESS,
        help="take the signer's socket from this configuration, for a signer in the foreground",
    )  # fmt: skip
