"""The commands that look and change nothing: status, plan, diff, history, cost."""

from __future__ import annotations

import argparse

from secretsd.cli import asking
from secretsd.cli.arguments import Parser
from secretsd.cli.command import FOR_OWNERS, Command, add_bundle, add_color, add_json
from secretsd.cli.screens import cost, diff, history, plan, status
from secretsd.cli.text import printable
from secretsd.errors import ExitCode, SecretsdError


def _status_arguments(parser: Parser) -> None:
    add_bundle(parser, or_all=True)
    form = parser.add_mutually_exclusive_group()
    add_json(form)
    form.add_argument(
        "--names",
        action="store_true",
        help="the bundles' names alone, one a line; no message where they may not be seen",
    )
    add_color(parser)


def _status(options: argparse.Namespace) -> int:
    if options.names:
        return _names(options)
    reply = asking.ask(options, "status", bundle=options.bundle)
    screen = status.all_bundles if options.bundle is None else status.one_bundle
    return asking.show(reply, options, screen)


def _names(options: argparse.Namespace) -> int:
    # For the shells' completion: whatever goes wrong, nothing may appear in the line that is being typed.
    try:
        reply = asking.ask(options, "status", bundle=options.bundle)
    except SecretsdError as error:
        return error.exit_code
    if reply.code is ExitCode.OK:
        bundles = reply.body.get("bundles")
        for name in sorted(bundles) if isinstance(bundles, dict) else ():
            print(printable(name))
    return reply.code


def _plan_arguments(parser: Parser) -> None:
    add_bundle(parser, or_all=True)
    add_json(parser)
    add_color(parser)


def _plan(options: argparse.Namespace) -> int:
    return asking.show(asking.ask_source(options, "plan", bundle=options.bundle), options, plan.screen)


def _one_bundle_arguments(parser: Parser) -> None:
    add_bundle(parser)
    add_json(parser)
    add_color(parser)


def _diff(options: argparse.Namespace) -> int:
    return asking.show(asking.ask_source(options, "diff", bundle=options.bundle), options, diff.screen)


def _history(options: argparse.Namespace) -> int:
    return asking.show(asking.ask(options, "history", bundle=options.bundle), options, history.screen)


def _cost_arguments(parser: Parser) -> None:
    add_json(parser)
    add_color(parser)


def _cost(options: argparse.Namespace) -> int:
    return asking.show(asking.ask(options, "cost"), options, cost.screen)


COMMANDS = (
    Command(
        name="status",
        summary="state, versions and age of each bundle, and its last failure with the fix",
        description="""\
Shows what secretsd holds: one line for each bundle, those in trouble first, then each failure with its
fix. With BUNDLE everything about that one: versions, variables, defaults, units, holds.

The states of a bundle: `loaded` (every unit that is to be told runs on what is published), `notified`
(units were told, and have to stay active a little longer or to acknowledge), `published` (units are
still to be told, or failed), `altered` (somebody changed the files on this host; they are repaired),
`missing` (nothing is published). Beside it: `failing` (the last refresh failed; what is published
stays), `held` and `rolled back` (until `secretsctl resume`).

The exit code says whether secretsd answered, not how the bundles are: use --json for that.""",
        examples="""\
secretsctl status
secretsctl status trading-bot
secretsctl status --json""",
        codes={0: "secretsd has answered", **FOR_OWNERS},
        arguments=_status_arguments,
        run=_status,
    ),
    Command(
        name="plan",
        summary="what a refresh would do now, without doing it",
        description="""\
Asks the source what a refresh would find, and prints the steps that would follow. Nothing is published,
nobody is told, no value is shown. Takes as long as the source takes.""",
        examples="""\
secretsctl plan
secretsctl plan trading-bot --json""",
        codes={0: "done, also where a step would keep a bundle as it is"},
        arguments=_plan_arguments,
        run=_plan,
    ),
    Command(
        name="diff",
        summary="what differs between the source and the published files, by name",
        description="""\
Compares a bundle's published files with what the source holds now: which variables publishing would add,
change or remove, which files were altered on this host, which versions the source has. Names only, never
values. Nothing is published. Takes as long as the source takes.""",
        examples="""\
secretsctl diff trading-bot""",
        codes={
            0: "compared, with or without differences",
            65: "what the source has now does not fit the bundle's rules: nothing to compare with",
            69: "the source is unavailable",
            77: "the source refuses, or you may not do this",
        },
        arguments=_one_bundle_arguments,
        run=_diff,
    ),
    Command(
        name="history",
        summary="the generations of a bundle on this host, newest first",
        description="""\
Lists the generations of a bundle: when each was published and why, from which versions of its secrets,
and what it is now: `published` (shown to the bot), `kept` (a rollback can show it again) or `gone`.
Generations are kept in this host's memory; a restart of the machine loses the older ones.""",
        examples="""\
secretsctl history trading-bot""",
        codes={0: "done"},
        arguments=_one_bundle_arguments,
        run=_history,
    ),
    Command(
        name="cost",
        summary="calls of each source by day, and what a month of them costs",
        description="""\
Shows how many requests secretsd has sent for each source today, how many a day it sends on average of the
last 7 days, and what a month of that costs at AWS's list prices; and what a longer refresh_interval, or a
queue that tells of new versions, would save. With --json also each day of the last 40.

Requests are counted by this host's secretsd while it runs, repetitions among them, and kept over restarts.
Those of a worker that was killed over a source that hung are not in it. Nothing is asked of AWS.""",
        examples="""\
secretsctl cost
secretsctl cost --json""",
        codes={0: "secretsd has answered"},
        arguments=_cost_arguments,
        run=_cost,
    ),
)
