"""The commands that say whether all is set up: doctor, check-config, alert-test."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from secretsd.cli import asking
from secretsd.cli.arguments import Parser
from secretsd.cli.command import Command, add_color, add_json
from secretsd.cli.paper import fitted
from secretsd.cli.spinner import spinning
from secretsd.config.disk import INSTALLED_CONFIG
from secretsd.errors import ConfigError, ExitCode


def _check_config_arguments(parser: Parser) -> None:
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        default=INSTALLED_CONFIG,
        metavar="FILE",
        help=f"default: {INSTALLED_CONFIG}; files in conf.d beside it are read too",
    )


def _check_config(options: argparse.Namespace) -> int:
    from secretsd.config.cautions import cautions
    from secretsd.config.load import load_checked
    from secretsd.config.signer_host import signer_cautions

    try:
        config = load_checked(options.file)
    except ConfigError as error:
        for problem in error.problems:
            print(fitted(problem, sys.stderr), file=sys.stderr)
        return error.exit_code
    secrets = sum(len(bundle.secrets) for bundle in config.bundles.values())
    for caution in (*cautions(config), *signer_cautions(config)):
        print(fitted(f"warning: {caution}", sys.stderr), file=sys.stderr)
    keys = f", signing keys: {len(config.signer.keys)}" if config.signer is not None else ""
    print(f"{options.file}: no mistakes; bundles: {len(config.bundles)}, secrets: {secrets}{keys}")
    return ExitCode.OK


def _doctor_arguments(parser: Parser) -> None:
    add_json(parser)
    add_color(parser)


def _doctor(options: argparse.Namespace) -> int:
    from secretsd.cli import doctor

    with spinning("doctor: looking, and asking each source"):
        checks = doctor.examine(options)
    if options.json:
        asking.print_json(doctor.document(checks))
    else:
        print(doctor.screen(checks, asking.view(options)))
    return doctor.exit_code(checks)


def _alert_test_arguments(parser: Parser) -> None:
    parser.add_argument(
        "bundle", nargs="?", metavar="BUNDLE", help="the alert_command of this one; default: that of [daemon]"
    )


def _alert_test(options: argparse.Namespace) -> int:
    return asking.end(asking.ask_program(options, "alert-test", bundle=options.bundle))


COMMANDS = (
    Command(
        name="doctor",
        summary="all that has to be right, a line each, with the fix",
        description="""\
Looks at the configuration and its files, the daemon, kernel and memory, the daemon's rights, the notify
helper, each source's credentials, endpoint and clock, whether each secret may be read, and each unit.
What is not right has its fix below it. Without a daemon it looks at the rest, and says how to start it.
Secrets are asked for as a refresh does; nothing is published, no value is shown.

`warn` is what works now and will not in some night. Of several codes the first in the order 78, 77, 65,
69, 74, 75 is taken.""",
        examples="""\
secretsctl doctor
secretsctl doctor --json""",
        codes={
            0: "nothing failed; there may be warnings",
            69: "a source cannot be reached, or its clock and ours differ by more than 5 minutes",
            74: "this host: memory, space, directories, rights",
            75: "secretsd or its notify helper does not answer",
            77: "a secret is denied or missing, the credentials are not accepted, or you may not ask",
            78: "the configuration has mistakes, or names a unit that cannot be told",
        },
        arguments=_doctor_arguments,
        run=_doctor,
    ),
    Command(
        name="alert-test",
        summary="run alert_command with a test event, and say how it ended",
        description="""\
Runs the alert_command as secretsd does when a bundle is in trouble: as the same user, in the same sandbox,
with an event on its input. See /usr/share/doc/secretsd/alerts.md.""",
        examples="""\
secretsctl alert-test
secretsctl alert-test trading-bot""",
        codes={
            0: "the command ended with 0",
            74: "it could not be run, failed or took too long: nobody may have heard it",
            78: "there is no alert_command",
        },
        arguments=_alert_test_arguments,
        run=_alert_test,
    ),
    Command(
        name="check-config",
        summary="check the configuration without a daemon; every mistake with its file and line",
        description="""\
Parses and checks the configuration, and what it needs of this host: users, directories, units. Every
mistake is printed with its file and line. secretsd is not asked; nothing changes.""",
        examples="""\
secretsctl check-config
secretsctl check-config ./secretsd.toml""",
        codes={0: "no mistakes", 78: "mistakes, a line each"},
        arguments=_check_config_arguments,
        run=_check_config,
        asks="nobody",
    ),
)
