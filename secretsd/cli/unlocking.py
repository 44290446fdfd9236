"""The command for a token whose PIN was refused."""

from __future__ import annotations

import argparse

from secretsd.cli import signer
from secretsd.cli.arguments import Parser
from secretsd.cli.command import Command
from secretsd.cli.keys import FOR_ADMINS
from secretsd.cli.text import clean
from secretsd.errors import ExitCode


def _unlock_arguments(parser: Parser) -> None:
    """Nothing but where the signer is."""


def _unlock(options: argparse.Namespace) -> int:
    document = signer.change(options, "/v1/secretsd/unlock", {}, "the signer logs in to the token")
    print(f"unlocked: {clean(document)['state']}")
    return ExitCode.OK


COMMANDS = (
    Command(
        name="unlock",
        summary="try the token's PIN again, after it was refused",
        description="""\
A PIN that the token refused is not tried again by itself: a few more attempts would lock the token. When
the file that pin = "file:PATH" names is corrected, this has the signer read it anew and try it once.

A PIN that is a credential (pin = "credential:NAME") is handed over by systemd when the service starts. After
it was corrected, systemctl restart secretsd-signer; this would find the old one, and does not try it.""",
        examples="""\
secretsctl unlock""",
        codes={0: "the token works", **FOR_ADMINS},
        arguments=_unlock_arguments,
        run=_unlock,
        asks="signer",
    ),
)
