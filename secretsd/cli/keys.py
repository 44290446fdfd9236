"""The commands about keys on the token: keys list, generate, import, public-key, retire."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from secretsd.cli import asking, files, signer, signing
from secretsd.cli.arguments import Parser, key_version
from secretsd.cli.command import Command, add_color, add_json
from secretsd.cli.paper import fitted
from secretsd.cli.screens import keys as screen
from secretsd.cli.text import clean
from secretsd.errors import ExitCode, TryAgainError, UsageError
from secretsd.signing.errors import SigningError

_FORMATS = ("pem", "der", "raw", "hex", "base64")
FOR_ADMINS = {77: "you may not: only root and the group secretsd-admin may"}


def _list_arguments(parser: Parser) -> None:
    add_json(parser)
    add_color(parser)


def _list(options: argparse.Namespace) -> int:
    document = signer.get(options, "/v1/secretsd/keys")
    if options.json:
        asking.print_json({"schema": asking.SCHEMA, **document})
    else:
        print(screen.listed(clean(document), asking.view(options)))
    return ExitCode.OK


def _generate_arguments(parser: Parser) -> None:
    signing.add_key(parser)
    add_json(parser)


def _generate(options: argparse.Namespace) -> int:
    path = signer.path_of("secretsd", "keys", options.key, "generate")
    return made(options, signer.change(options, path, {}, f"the token makes {options.key}"), "generated")


def made(options: argparse.Namespace, document: signer.Document, how: str) -> int:
    """Tells of a new version of a key."""
    if options.json:
        asking.print_json({"schema": asking.SCHEMA, **document})
    else:
        print(screen.made(document, how))
    return ExitCode.OK


def _import_arguments(parser: Parser) -> None:
    signing.add_key(parser)
    parser.add_argument(
        "--in", dest="material", type=Path, metavar="FILE", help="the file; default: standard input"
    )
    parser.add_argument(
        "--format", choices=_FORMATS, metavar="FORMAT",
        help="pem or der, which is found out; of a secret key raw, hex or base64, to be named",
    )  # fmt: skip
    add_json(parser)


def _import(options: argparse.Namespace) -> int:
    path = signer.path_of("secretsd", "keys", options.key, "import")
    found = signer.configured_key(options, options.key)
    if found is None:
        raise SigningError(
            "unknown-key", f"{options.key} is no key that you may see", advice="see secretsctl keys list"
        )
    from secretsd.signing.material import parse  # only for an import: it brings cryptography with it

    if options.material is not None:
        files.warn_where_others_can_read(options.material)
    content = files.read(options.material, "the key")
    material = parse(content, options.format or "", str(found["type"]))
    body = {"material": signer.encoded(material)}
    return made(options, signer.change(options, path, body, f"{options.key} goes to the token"), "imported")


def _retire_arguments(parser: Parser) -> None:
    signing.add_key(parser)
    parser.add_argument("version", type=key_version, metavar="VERSION", help="which version, a number")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _retire(options: argparse.Namespace) -> int:
    path = signer.path_of("secretsd", "keys", options.key, "retire")
    if not options.yes:
        _be_sure(
            f"Version {options.version} of {options.key} will never again sign, encrypt or wrap. "
            "The token does not take that back."
        )
    signer.change(options, path, {"version": options.version}, "the token retires it")
    print(f"retired: version {options.version} of {options.key}; what it signed can still be verified")
    return ExitCode.OK


def _be_sure(what: str) -> None:
    """Raises: UsageError where nobody can be asked, TryAgainError where they do not say yes."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("nobody can be asked whether to go on", advice="add --yes")
    print(fitted(what, sys.stderr), file=sys.stderr)
    print("Go on? Type yes: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != "yes":
        raise TryAgainError("nothing was changed")


COMMANDS = (
    Command(
        name="keys list",
        summary="the keys that you may use, what for, and their versions",
        description="""\
Lists the keys of secretsd-signer that you may use; root and members of the group secretsd-admin see all.
For a key that cannot be used there is the reason with the fix.""",
        examples="""\
secretsctl keys list
secretsctl keys list --json""",
        codes={0: "the signer has answered"},
        arguments=_list_arguments,
        run=_list,
        asks="signer",
    ),
    Command(
        name="keys generate",
        summary="have the token make a key, or its next version",
        description="""\
Has the token make the key that [signer.keys.KEY] of the configuration describes; if there is one already,
its next version, which is used from then on. It cannot leave the token, unless the configuration names a
key to wrap it with.""",
        examples="""\
secretsctl keys generate hot-wallet""",
        codes={0: "made", **FOR_ADMINS},
        arguments=_generate_arguments,
        run=_generate,
        asks="signer",
    ),
    Command(
        name="keys import",
        summary="bring a key from a file into the token",
        description="""\
Reads a key from a file or from standard input, never from the command line, and brings it into the token as
the key's next version.

Key pairs come in PEM or DER, as PKCS#8 or as OpenSSL's older forms, without a password. For hmac and aes
keys say with --format how the file holds the bytes: raw (each byte counts, a newline too), hex or base64.""",
        examples="""\
secretsctl keys import hot-wallet --in hot-wallet.pem
secretsctl keys import orders --in orders.key --format hex""",
        codes={0: "imported", 65: "the file holds no such key", **FOR_ADMINS},
        arguments=_import_arguments,
        run=_import,
        asks="signer",
    ),
    Command(
        name="keys public-key",
        summary="the public key of a key pair, as secretsctl public-key",
        description="""\
The same as secretsctl public-key.""",
        examples="""\
secretsctl keys public-key hot-wallet""",
        codes={0: "printed"},
        arguments=signing.public_key_arguments,
        run=signing.public_key,
        asks="signer",
    ),
    Command(
        name="keys retire",
        summary="have the token refuse to sign with an old version",
        description="""\
From now on the token itself refuses to sign, encrypt or wrap with this version of the key, whoever asks.
What it signed can still be verified, and what it encrypted can be decrypted. This cannot be taken back.""",
        examples="""\
secretsctl keys retire hot-wallet 1
secretsctl keys retire hot-wallet 1 --yes""",
        codes={0: "retired", 75: "you did not say yes, or the signer does not answer", **FOR_ADMINS},
        arguments=_retire_arguments,
        run=_retire,
        asks="signer",
    ),
)
