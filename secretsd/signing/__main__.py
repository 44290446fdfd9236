"""secretsd-signer, the signing daemon."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

import secretsd
from secretsd import logs, process
from secretsd.cli.arguments import Parser
from secretsd.config.load import INSTALLED_CONFIG, load
from secretsd.config.signer import Signer
from secretsd.errors import ConfigError, ExitCode, SecretsdError
from secretsd.service import Service
from secretsd.signing.house import House

log = logging.getLogger("secretsd.signing")


def main() -> None:
    arguments = _parse_arguments()
    logs.set_up()
    try:
        process.forbid_dumps()
        _run(_serve(arguments.config, configured(arguments.config)))
    except SecretsdError as error:
        for line in str(error).splitlines():
            log.error(line)
        if error.advice:
            log.error(error.advice)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.OK)


def configured(path: Path) -> Signer:
    """The table [signer] of the configuration. Raises: ConfigError."""
    config = load(path)
    if config.signer is None:
        raise ConfigError([f"{path}: there is no table [signer]: see secretsd.toml(5), the signing service"])
    return config.signer


def _parse_arguments() -> argparse.Namespace:
    parser = Parser(
        prog="secretsd-signer",
        description="Signs with the keys of a PKCS#11 token for local processes that may use them.",
        epilog="Normally started by systemd (secretsd-signer.socket). See secretsd-signer(8).",
    )
    parser.add_argument(
        "--config", type=Path, default=INSTALLED_CONFIG, metavar="FILE", help=f"default: {INSTALLED_CONFIG}"
    )
    parser.add_argument("--version", action="version", version=f"secretsd-signer {secretsd.__version__}")
    return parser.parse_args()


def _run(serving: asyncio.coroutines) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(serving)
    else:
        uvloop.run(serving)


if __name__ == "__main__":
    main()
