"""The commands that use a key: sign, verify, public-key."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from secretsd.cli import asking, files, signer
from secretsd.cli.arguments import Parser, key_version
from secretsd.cli.command import Command, add_json
from secretsd.errors import ExitCode, UsageError
from secretsd.signing.errors import SigningError

HASHES = ("sha2-256", "sha2-384", "sha2-512")
MARSHALINGS = ("asn1", "jws", "eth")
PADDINGS = ("pss", "pkcs1v15")

# In base64, and with a signature beside it, it is still one request of at most 64 KiB.
_LONGEST_MESSAGE_BYTES = 48_000

# A SubjectPublicKeyInfo of Ed25519 up to its 32 bytes (RFC 8410), which are all that Transit tells.
_ED25519_HEAD = bytes.fromhex("302a300506032b6570032100")


def add_key(parser: Parser) -> None:
    parser.add_argument("key", metavar="KEY", help="the key's name, as in secretsctl keys list")


def add_key_version(parser: Parser, told: str) -> None:
    parser.add_argument("--key-version", type=key_version, metavar="N", help=told)


def _message_arguments(parser: Parser) -> None:
    add_key(parser)
    parser.add_argument(
        "--in", dest="message", type=Path, metavar="FILE", help="the message; default: standard input"
    )
    parser.add_argument(
        "--digest", action="store_true", help="the message is a digest already, its bytes and not in hex"
    )
    parser.add_argument("--hash", choices=HASHES, help="default: the one that belongs to the key's type")
    parser.add_argument(
        "--marshaling", choices=MARSHALINGS, default="asn1",
        help="of ECDSA: asn1 is DER, jws is r||s in base64url, eth is r||s||v; default: asn1",
    )  # fmt: skip
    parser.add_argument("--padding", choices=PADDINGS, default="pss", help="of RSA; default: pss")


def _sign_arguments(parser: Parser) -> None:
    _message_arguments(parser)
    add_key_version(parser, "sign with this version of the key; default: the newest")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--raw", action="store_true", help="the signature's bytes instead of base64")
    form.add_argument("-o", "--out", type=Path, metavar="FILE", help="the signature's bytes into this file")
    add_json(form)


def _sign(options: argparse.Namespace) -> int:
    message = _message(options)
    answer, what = _signed(options, message)
    version, text = _parts(str(answer[what]))
    if options.out is not None:
        return files.write(options.out, signer.decoded(text))
    if options.raw:
        return files.to_stdout(signer.decoded(text))
    if options.json:
        asking.print_json({"schema": asking.SCHEMA, "key": options.key, "version": version, what: text})
    else:
        print(text)
    return ExitCode.OK


def _message(options: argparse.Namespace) -> bytes:
    """Raises: SecretsdError."""
    message = files.read(options.message, "the message")
    if len(message) > _LONGEST_MESSAGE_BYTES:
        raise UsageError(
            f"a message has at most {_LONGEST_MESSAGE_BYTES} bytes here",
            advice="take its digest: openssl dgst -sha256 -binary FILE, and --digest",
        )
    return message


def _signed(options: argparse.Namespace, message: bytes) -> tuple[signer.Document, str]:
    """The answer, and its member that was asked for: an HMAC of a key that makes no signatures."""
    body = {"input": signer.encoded(message), "key_version": options.key_version or 0}
    if _is_hmac_key(options):
        return signer.use(
            options, signer.path_of("transit", "hmac", options.key), _form(options) | body
        ), "hmac"
    return signer.use(
        options, signer.path_of("transit", "sign", options.key), _form(options) | body
    ), "signature"


def _is_hmac_key(options: argparse.Namespace) -> bool:
    found = signer.configured_key(options, options.key)
    is_hmac = found is not None and found.get("type") == "hmac"
    if is_hmac and options.digest:
        raise UsageError("an HMAC is of a message, never of a digest", advice="leave --digest away")
    return is_hmac


def _form(options: argparse.Namespace) -> dict[str, object]:
    hash_ = {} if options.hash is None else {"hash_algorithm": options.hash}
    return {
        "prehashed": options.digest,
        "marshaling_algorithm": options.marshaling,
        "signature_algorithm": options.padding,
        **hash_,
    }


def _parts(text: str) -> tuple[int, str]:
    """The version and the base64 of "vault:vN:BASE64"."""
    _, version, value = text.split(":", 2)
    return int(version.removeprefix("v")), value


def _verify_arguments(parser: Parser) -> None:
    _message_arguments(parser)
    parser.add_argument(
        "--signature", metavar="BASE64",
        help="the signature or HMAC, as `sign` printed it; with the =, since base64url may begin with -",
    )  # fmt: skip
    parser.add_argument(
        "--signature-file", type=Path, metavar="FILE", help="or a file with its bytes, as from `sign -o`"
    )
    add_key_version(parser, "only this version of the key; default: each of them, the newest first")
    add_json(parser)


def _verify(options: argparse.Namespace) -> int:
    signature = _given_signature(options)
    message = _message(options)
    is_hmac = _is_hmac_key(options)
    text = signer.encoded(signature)
    if options.marshaling == "jws" and not is_hmac:
        text = text.translate(str.maketrans("+/", "-_")).rstrip("=")
    body = _form(options) | {"input": signer.encoded(message)}
    what = "hmac" if is_hmac else "signature"
    path = signer.path_of("transit", "verify", options.key)
    for version in _versions(options):
        if signer.use(options, path, body | {what: f"vault:v{version}:{text}"}).get("valid"):
            return _judged(options, what, version)
    return _judged(options, what, None)


def _given_signature(options: argparse.Namespace) -> bytes:
    if (options.signature is None) is (options.signature_file is None):
        raise UsageError(
            "one signature is needed", advice="give it with --signature or with --signature-file"
        )
    if options.signature_file is not None:
        return files.read(options.signature_file, "the signature")
    try:
        return signer.decoded(options.signature.rpartition(":")[2])
    except ValueError:
        raise UsageError(
            "the signature is no base64",
            advice="give it as `sign` printed it, or its file with --signature-file",
        ) from None


def _versions(options: argparse.Namespace) -> list[int]:
    if options.key_version is not None:
        return [options.key_version]
    found = signer.configured_key(options, options.key)
    versions = [each["version"] for each in (found or {}).get("versions") or ()]
    return sorted(versions, reverse=True) or [1]


def _judged(options: argparse.Namespace, what: str, version: int | None) -> int:
    if options.json:
        document = {"key": options.key, "valid": version is not None, "version": version}
        asking.print_json({"schema": asking.SCHEMA, **document})
    elif version is not None:
        print(f"good: the {what} is by version {version} of {options.key}")
    else:
        which = "any version" if options.key_version is None else f"version {options.key_version}"
        print(f"not good: the {what} is not by {which} of {options.key} over this message", file=sys.stderr)
    return ExitCode.OK if version is not None else ExitCode.DATA


def public_key_arguments(parser: Parser) -> None:
    add_key(parser)
    add_key_version(parser, "of this version of the key; default: the newest")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--der", action="store_true", help="DER instead of PEM")
    add_json(form)


def public_key(options: argparse.Namespace) -> int:
    described = signer.get(options, signer.path_of("transit", "keys", options.key))
    version = options.key_version or described["latest_version"]
    pem = _pem(options.key, described, version)
    if options.der:
        return files.to_stdout(signer.decoded("".join(pem.splitlines()[1:-1])))
    if options.json:
        document = {"key": options.key, "type": described["type"], "version": version, "public_key": pem}
        asking.print_json({"schema": asking.SCHEMA, **document})
    else:
        print(pem, end="")
    return ExitCode.OK


def _pem(key: str, described: dict[str, Any], version: int) -> str:
    versions = described.get("keys") or {}
    if not described["supports_signing"]:
        raise SigningError("unsupported", f"{key} is a secret key: it has no public half")
    if str(version) not in versions:
        advice = f"its newest is {described['latest_version']}"
        raise SigningError("unknown-version", f"{key} has no such version", advice=advice)
    public = str(versions[str(version)]["public_key"])
    if described["type"] != "ed25519":
        return public
    text = signer.encoded(_ED25519_HEAD + signer.decoded(public))
    return f"-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n"


COMMANDS = (
    Command(
        name="sign",
        summary="the signature of a message, by a key on the token",
        description="""\
Asks secretsd-signer for the signature of a message and prints it in base64. With a key of type hmac it is
the message's HMAC. The key never leaves the token, and the use is on record there.

A message has at most 48,000 bytes. Of a larger one sign the digest: with --digest, which the key's mechanisms
must allow.""",
        examples="""\
printf 'buy 1 BTC' | secretsctl sign hot-wallet
secretsctl sign hot-wallet --in order.json -o order.sig
# a large file, by its digest
openssl dgst -sha256 -binary big.iso | secretsctl sign release --digest""",
        codes={0: "signed"},
        arguments=_sign_arguments,
        run=_sign,
        asks="signer",
    ),
    Command(
        name="verify",
        summary="whether a signature or an HMAC is good",
        description="""\
Asks secretsd-signer whether a signature of a message, or with a key of type hmac its HMAC, was made by the
key. Without --key-version every version of the key counts. The hash, marshaling and padding must be those
that it was signed with.""",
        examples="""\
secretsctl verify hot-wallet --in order.json --signature-file order.sig
printf 'buy 1 BTC' | secretsctl verify orders --signature="$(cat order.hmac)\"""",
        codes={0: "it is good", 65: "it is not good"},
        arguments=_verify_arguments,
        run=_verify,
        asks="signer",
    ),
    Command(
        name="public-key",
        summary="the public key of a key pair, in PEM",
        description="""\
Prints the public key of a key pair on the token as a SubjectPublicKeyInfo in PEM, which openssl and every
library reads.""",
        examples="""\
secretsctl public-key hot-wallet
secretsctl public-key hot-wallet --key-version 1 --der > old.der""",
        codes={0: "printed"},
        arguments=public_key_arguments,
        run=public_key,
        asks="signer",
    ),
)
