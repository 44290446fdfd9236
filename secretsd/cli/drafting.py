"""The command that drafts a bundle's table of variables."""

from __future__ import annotations

import argparse

from secretsd.cli import asking
from secretsd.cli.arguments import Parser
from secretsd.cli.command import Command, add_bundle, add_color, add_json


def _arguments(parser: Parser) -> None:
    add_bundle(parser)
    parser.add_argument("--source", metavar="NAME", help="with --id: of a bundle that is not configured yet")
    parser.add_argument("--id", metavar="ID", help="the secret that it is to be made of")
    add_json(parser)
    add_color(parser)


def _schema(options: argparse.Namespace) -> int:
    from secretsd.cli.screens import schema  # with it comes decimal

    reply = asking.ask_source(options, "schema", bundle=options.bundle, source=options.source, id=options.id)
    return asking.show(reply, options, schema.screen)


COMMANDS = (
    Command(
        name="schema",
        summary="draft a bundle's table of variables from what its secrets hold now",
        description="""\
Looks at what the bundle's secrets hold now and prints a `variables` table in TOML: names, types and
rounded lengths, never a value. What cannot be a variable stands below it as a comment with the reason.
Review it before you paste it into the bundle: the next version of the secret must satisfy it, too.

With --source and --id the bundle need not be configured yet; its name is then the one to be.""",
        examples="""\
secretsctl schema trading-bot
# before the bundle exists
secretsctl schema trading-bot --source aws --id trading-bot/live""",
        codes={
            0: "drafted",
            69: "the source does not answer now",
            77: "refused: by secretsd or by the source",
        },
        arguments=_arguments,
        run=_schema,
    ),
)
