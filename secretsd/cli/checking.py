"""The command that checks the configuration, without a daemon."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from secretsd.cli.arguments import Parser
from secretsd.cli.command import Command
from secretsd.errors import ConfigError, ExitCode

DEFAULT_CONFIG = Path("/etc/secretsd/secretsd.toml")


def _check_config_arguments(parser: Parser) -> None:
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help=f"default: {DEFAULT_CONFIG}; files in conf.d beside it are read too",
    )


def _check_config(options: argparse.Namespace) -> int:
    from secretsd.config.cautions import cautions
    from secretsd.config.load import load_checked

    try:
        config = load_checked(options.file)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return error.exit_code
    secrets = sum(len(bundle.secrets) for bundle in config.bundles.values())
    for caution in cautions(config):
        print(f"warning: {caution}", file=sys.stderr)
    print(f"{options.file}: no mistakes; bundles: {len(config.bundles)}, secrets: {secrets}")
    return ExitCode.OK


COMMANDS = (
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
        asks_daemon=False,
    ),
)
