"""The command that makes the key of sealed copies."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from secretsd.cli.arguments import Parser
from secretsd.cli.command import Command
from secretsd.errors import ExitCode, UsageError


def _arguments(parser: Parser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--with-key",
        choices=("host", "tpm2", "host+tpm2"),
        metavar="KEY",
        help="for the installed service, what encrypts the key: host, tpm2 or host+tpm2",
    )
    where.add_argument(
        "--file", type=Path, metavar="PATH", help="for a daemon in the foreground: a file of yours, 0600"
    )
    parser.add_argument(
        "--counter",
        action="store_true",
        help="a counter in the TPM, so that an older disk brings back no older copy; needs tpm2-tools",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace what is there: what it has sealed is lost"
    )


def _seal_setup(options: argparse.Namespace) -> int:
    from secretsd.cli import sealkey  # with it comes subprocess
    from secretsd.config import toml_text

    # Not argparse's own group of three: its usage would be one line that no terminal of 64 columns holds.
    if options.counter == (options.with_key is not None or options.file is not None):
        raise UsageError("say what is to be made: --with-key KEY, --counter or --file PATH")
    if options.counter:
        sealkey.make_counter(force=options.force)
        print(f'the counter is made; [daemon] needs: seal_counter = "{sealkey.COUNTER}"')
        print("then: systemctl restart secretsd")
        return ExitCode.OK
    if options.file is not None:
        path = Path(os.path.abspath(options.file))  # the configuration takes no ".."
        if not str(path).isprintable():
            raise UsageError("--file must be a path without control characters: the configuration names it")
        sealkey.make_file(path, force=options.force)
        place, then = f"file:{path}", "secretsctl reload"
    else:
        sealkey.make_credential(options.with_key, force=options.force)
        place, then = f"credential:{sealkey.NAME}", "systemctl restart secretsd"
    print(f"the key is made; [daemon] needs: seal_key = {toml_text.inline(place)}")
    print('each bundle that is to survive a boot in an outage needs: sealed_copy = { max_age = "7d" }')
    print(f"then: {then}")
    return ExitCode.OK


COMMANDS = (
    Command(
        name="seal-setup",
        summary="make the key of sealed copies, once, as root",
        description="""\
Makes the key that seals a bundle's last known good content on this host's disk, so that a boot while the
source is out can publish it. The key is random, is shown to nobody, and never lies on a disk in clear:
systemd encrypts it and hands it to secretsd.service, by a drop-in that this writes.

--with-key says what encrypts it, and is never guessed. tpm2: this machine's TPM; a stolen disk is of no use.
host: a key of systemd's on the same disk; it holds against who gets at the copies alone, a backup of
/var/lib/secretsd for instance, and not against who has the whole disk. host+tpm2: both are needed.

--counter makes a counter in the TPM, beside the key. Each copy of new versions is stamped with it, and copies
that lie behind it are refused: without it, whoever restores an older state of the disk brings back older
copies, as long as their max_age allows.

With --file it makes the key of a daemon in the foreground instead.""",
        examples="""\
sudo secretsctl seal-setup --with-key tpm2
sudo secretsctl seal-setup --counter
# in the foreground, without root
secretsctl seal-setup --file ~/.config/secretsd/seal-key""",
        codes={
            0: "made",
            64: "wrong usage, or there is one already",
            74: "I/O: a file cannot be written",
            75: "the TPM does not answer in time: try again",
            77: "only root may",
            78: "no TPM2, no systemd-creds or tpm2-tools, or they failed: see the message",
        },
        arguments=_arguments,
        run=_seal_setup,
        asks="nobody",
    ),
)
