"""The commands by which an operator acts: reload, rollback, hold, resume."""

from __future__ import annotations

import argparse

from secretsd.cli import asking
from secretsd.cli.arguments import Parser, generation, timespan
from secretsd.cli.command import Command, add_bundle, add_json

_DEFAULT_TIMEOUT = "60s"
_LONGEST_REASON = 200  # characters; a request has 4 KiB

_CODES = {
    0: "published, and loaded by every unit that is to be told",
    65: "a secret does not fit the rules of its bundle; the last good files stay",
    69: "the source is unavailable; the last good files stay",
    74: "this host could not write the files",
    75: "not yet: published and not loaded within the timeout, or secretsd does not answer",
    77: "the source refuses, or you may not do this",
    78: "the configuration has mistakes; the running one stays in force",
}


def _timeout(parser: Parser) -> None:
    parser.add_argument(
        "--timeout", type=timespan, default=_DEFAULT_TIMEOUT, metavar="TIME",
        help=f"how long to wait, as 30s or 5m; then exit 75; default: {_DEFAULT_TIMEOUT}",
    )  # fmt: skip


def _reason_option(parser: Parser) -> None:
    parser.add_argument(
        "--reason", type=_reason, metavar="TEXT", help="why, for those who see the hold in status and history"
    )


def _reason(text: str) -> str:
    reason = " ".join(text.split())
    if len(reason) > _LONGEST_REASON or not reason.isprintable():
        raise argparse.ArgumentTypeError(f"at most {_LONGEST_REASON} printable characters")
    return reason


def _reload_arguments(parser: Parser) -> None:
    add_bundle(parser, or_all=True)
    _timeout(parser)
    add_json(parser)


def _reload(options: argparse.Namespace) -> int:
    return asking.end_of_work(asking.ask_and_wait(options, "reload", bundle=options.bundle), options)


def _rollback_arguments(parser: Parser) -> None:
    add_bundle(parser)
    parser.add_argument(
        "--to", type=generation, metavar="GENERATION",
        help="which generation to show again, from secretsctl history; default: the one before this",
    )  # fmt: skip
    _reason_option(parser)
    _timeout(parser)
    add_json(parser)


def _rollback(options: argparse.Namespace) -> int:
    fields = {"bundle": options.bundle, "to": options.to, "reason": options.reason}
    return asking.end_of_work(asking.ask_and_wait(options, "rollback", **fields), options)


def _hold_arguments(parser: Parser) -> None:
    add_bundle(parser)
    _reason_option(parser)
    add_json(parser)


def _hold(options: argparse.Namespace) -> int:
    reply = asking.ask(options, "hold", bundle=options.bundle, reason=options.reason)
    return asking.end_of_work(reply, options)


def _resume_arguments(parser: Parser) -> None:
    add_bundle(parser)
    _timeout(parser)
    add_json(parser)


def _resume(options: argparse.Namespace) -> int:
    return asking.end_of_work(asking.ask_and_wait(options, "resume", bundle=options.bundle), options)


COMMANDS = (
    Command(
        name="reload",
        summary="re-read the configuration, refresh, publish, tell units, and wait for it",
        description="""\
For after a rotation and after a change of the configuration. Reads the configuration anew, asks the
source, publishes what changed, tells the units, and waits until every bundle is published and loaded.
For each bundle that fell short there is a line that says why, and a fix.

Of several exit codes the first in the order 78, 77, 65, 69, 74, 75 is taken. A bundle that is held stays
held.""",
        examples="""\
secretsctl reload
secretsctl reload trading-bot --timeout 2m""",
        codes=_CODES,
        arguments=_reload_arguments,
        run=_reload,
    ),
    Command(
        name="rollback",
        summary="show an older generation again, and hold it",
        description="""\
Publishes the content of an older generation again, as a new one, tells the units, and waits until they
have loaded it. From then on the bundle is held, over restarts too, until `secretsctl resume` or until
the source has a version newer than the one rolled back from. secretsctl history lists the generations
that can be shown again (`kept`).""",
        examples="""\
secretsctl rollback trading-bot
secretsctl rollback trading-bot --to 5 --reason "bad key\"""",
        codes={
            0: "the older generation is published and loaded",
            65: "there is no such generation on this host any more: see secretsctl history",
            74: _CODES[74],
            75: _CODES[75],
        },
        arguments=_rollback_arguments,
        run=_rollback,
    ),
    Command(
        name="hold",
        summary="keep what is published, whatever the source says",
        description="""\
From now on the bundle stays at what is published, over restarts too, until `secretsctl resume`. The
source is still asked: status shows what waits. Returns at once.""",
        examples="""\
secretsctl hold trading-bot --reason "until the market closes\"""",
        codes={0: "held", 75: "nothing is published that could be held, or secretsd does not answer"},
        arguments=_hold_arguments,
        run=_hold,
    ),
    Command(
        name="resume",
        summary="end a hold or a rollback, refresh, and wait for it",
        description="""\
Ends the hold of a bundle, asks the source, publishes what it has now, tells the units, and waits until
they have loaded it. Without a hold it is an ordinary refresh.""",
        examples="""\
secretsctl resume trading-bot""",
        codes={code: meaning for code, meaning in _CODES.items() if code != 78},
        arguments=_resume_arguments,
        run=_resume,
    ),
)
