"""secretsctl: every command but the fast path of `wait`."""

from __future__ import annotations

import argparse
import sys
from io import TextIOWrapper
from typing import TextIO

import secretsd
from secretsd.cli import (
    acting,
    asking,
    audit_restore,
    aws_setup,
    bots,
    checking,
    drafting,
    health,
    keys,
    looking,
    render,
    sealing,
    signing,
    trail,
    unlocking,
    unwrapping,
    usage,
)
from secretsd.cli.arguments import Parser, listing
from secretsd.cli.command import Command, add_socket, family_of, parser_of
from secretsd.errors import ExitCode, SecretsdError

# What a command imports beyond the standard library, it imports when it runs: `status` is not to wait for
# pydantic, and the package's build asks this parser for the manual page and the completions.
GROUPS: tuple[tuple[str, tuple[Command, ...]], ...] = (
    (
        "look",
        (
            *looking.COMMANDS,
            *health.COMMANDS,
            *trail.COMMANDS,
            *usage.COMMANDS,
            *audit_restore.COMMANDS,
        ),
    ),
    ("act", acting.COMMANDS),
    ("in a bot's unit", (*bots.COMMANDS, *render.COMMANDS)),
    (
        "sign, with secretsd-signer",
        (*signing.COMMANDS, *keys.COMMANDS, *unwrapping.COMMANDS, *unlocking.COMMANDS),
    ),
    ("set up", (*checking.COMMANDS, *drafting.COMMANDS, *aws_setup.COMMANDS, *sealing.COMMANDS)),
)

_CODES = (
    ("0", "done"),
    ("64", "wrong usage"),
    ("65", "bad data: a secret does not fit its rules, a signature is not good"),
    ("69", "source unavailable: the last good files stay; or the token is"),
    ("70", "a bug"),
    ("74", "this host's I/O"),
    ("75", "try again, also: published, not loaded yet"),
    ("77", "refused"),
    ("78", "the configuration has mistakes"),
)


def run(arguments: list[str]) -> int:
    """The command's exit code. Wrong usage ends the process."""
    if sys.stdout is not None:
        _escape_what_the_encoding_lacks(sys.stdout)
    parser = make_parser()
    if not arguments:
        print(parser.format_help(), end="", file=sys.stderr)
        return ExitCode.USAGE
    try:
        options = parser.parse_args(arguments)
        code: int = options.run(options)
    except SecretsdError as error:
        return asking.fall_short(error)
    return code


def _escape_what_the_encoding_lacks(stream: TextIO) -> None:
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def make_parser() -> Parser:
    """The whole command line of secretsctl."""
    parser = Parser(
        prog="secretsctl",
        usage="secretsctl [--socket PATH | --config FILE] COMMAND ...",
        description=_overview(),
        epilog=_closing(),
    )
    parser.add_argument("--version", action="version", version=f"secretsctl {secretsd.__version__}")
    add_socket(parser, default=None)
    # Its own listing would neither be grouped nor stand before the options.
    commands = parser.add_subparsers(
        prog="secretsctl", metavar="COMMAND", required=True, help=argparse.SUPPRESS, parser_class=Parser
    )
    families = {"": commands}
    for command in every_command():
        family = command.name.rpartition(" ")[0]
        if family not in families:
            members = (each for each in every_command() if each.name.startswith(f"{family} "))
            families[family] = family_of(commands, family, members)
        parser_of(families[family], command)
    return parser


def every_command() -> list[Command]:
    return [command for _, group in GROUPS for command in group]


def _overview() -> str:
    """What there is, by what one wants."""
    wide = max(len(command.name) for command in every_command())
    parts = [
        f"{title}:\n{listing((command.name.ljust(wide), command.summary) for command in group)}"
        for title, group in GROUPS
    ]
    what = "Asks the secrets daemon what it holds, and tells it what to do. Values are never shown."
    return "\n\n".join([what, *parts])


def _closing() -> str:
    codes = f"exit codes (sysexits.h):\n{listing((code.rjust(2), meaning) for code, meaning in _CODES)}"
    closing = "`secretsctl COMMAND --help` explains a command, with an example. See also secretsctl(1)."
    return f"{codes}\n\n{closing}"
