"""The commands that stand in a bot's unit or are called by a bot: wait, ack."""

from __future__ import annotations

import argparse

from secretsd.cli import asking, fast
from secretsd.cli.arguments import Parser, generation, timespan
from secretsd.cli.command import FOR_OWNERS, Command, add_bundle


def _wait_arguments(parser: Parser) -> None:
    add_bundle(parser)
    parser.add_argument(
        "--timeout", type=timespan, default=fast.DEFAULT_TIMEOUT, metavar="TIME",
        help=f"how long to wait, as 30s or 5m; then exit 75; default: {fast.DEFAULT_TIMEOUT}",
    )  # fmt: skip
    parser.add_argument(
        "--max-age", type=timespan, metavar="AGE",
        help="ask the source again if it confirmed the content longer ago than this; exit 75 if it cannot",
    )  # fmt: skip
    parser.add_argument(
        "--allow-stale", action="store_true", help="exit 0 all the same where it is too old, and say so"
    )


def _wait(options: argparse.Namespace) -> int:
    """The way for what `fast.parse` leaves to argparse; the same wait."""
    return fast.wait(
        options.bundle,
        timeout=options.timeout,
        max_age=options.max_age,
        allow_stale=options.allow_stale,
        socket=asking.socket_path(options),
    )


def _ack_arguments(parser: Parser) -> None:
    add_bundle(parser)
    parser.add_argument(
        "generation", type=generation, metavar="GENERATION",
        help="the number that the link /run/secretsd/BUNDLE ended with when the bot read its files",
    )  # fmt: skip


def _ack(options: argparse.Namespace) -> int:
    return asking.end(asking.ask(options, "ack", bundle=options.bundle, generation=options.generation))


COMMANDS = (
    Command(
        name="wait",
        summary="return when the bundle is published; for ExecStartPre=",
        description="""\
The gate before a bot's start: returns as soon as every file of the bundle is there as it was published.
Where secretsd does not answer, what is published is good enough, unless it is too old.

With --max-age, or where the bundle has a max_age, the source must have confirmed the content no longer
ago than that; if it has not, a refresh is tried.""",
        examples="""\
# in the bot's unit
ExecStartPre=/usr/bin/secretsctl wait trading-bot --timeout 60s
# no older than an hour, but start all the same
secretsctl wait trading-bot --max-age 1h --allow-stale""",
        codes={
            0: "published, and as fresh as asked for",
            75: "not published, or not fresh enough, within the timeout",
            **FOR_OWNERS,
        },
        arguments=_wait_arguments,
        run=_wait,
    ),
    Command(
        name="ack",
        summary="a bot says which generation it has loaded",
        description="""\
For bots whose bundle has require_ack = true: the bundle counts as loaded only once the bot has said so.
The generation is the last part of what the link /run/secretsd/BUNDLE points at.""",
        examples="""\
secretsctl ack bot "$(basename "$(readlink /run/secretsd/bot)")\"""",
        codes={
            0: "noted",
            65: "that generation is not the one that is published: read the files again",
            **FOR_OWNERS,
        },
        arguments=_ack_arguments,
        run=_ack,
    ),
)
