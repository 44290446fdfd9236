"""The commands for keys that travel wrapped, and for the second person who lets them in."""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import sys
import time
from pathlib import Path

from secretsd.cli import asking, files, keys, signer, signing
from secretsd.cli.arguments import Parser
from secretsd.cli.command import Command, add_color, add_json
from secretsd.cli.screens import keys as screen
from secretsd.cli.spinner import spinning
from secretsd.cli.text import clean
from secretsd.errors import ExitCode, TryAgainError

_LOOK_EVERY_S = 1.0


def _wrap_arguments(parser: Parser) -> None:
    signing.add_key(parser)
    signing.add_key_version(parser, "this version of the key; default: the newest")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="FILE", help="where to write the wrapped key"
    )


def _wrap(options: argparse.Namespace) -> int:
    path = signer.path_of("secretsd", "keys", options.key, "wrap")
    body = {} if options.key_version is None else {"version": options.key_version}
    document = signer.change(options, path, body, "the token wraps it")
    files.write(options.out, signer.decoded(str(document["blob"])))
    print(f"wrapped: version {document['version']} of {options.key} into {clean(str(options.out))}")
    return ExitCode.OK


def _unwrap_arguments(parser: Parser) -> None:
    signing.add_key(parser)
    parser.add_argument(
        "--in", dest="blob", type=Path, metavar="FILE", help="the wrapped key; default: standard input"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--wait", action="store_true", help="stay until it is approved and done, or expired")
    how.add_argument("--request", metavar="ID", help="go on with a request that was approved")
    add_json(parser)


def _unwrap(options: argparse.Namespace) -> int:
    path = signer.path_of("secretsd", "keys", options.key, "unwrap")
    body = {"blob": signer.encoded(files.read(options.blob, "the wrapped key"))}
    if options.request is not None:
        return _go_on(options, path, body | {"request_id": options.request})
    asked = clean(signer.use(options, path, body))
    told = screen.asked(asked, options.key, str(options.blob or "FILE"), is_waiting=options.wait)
    if not options.wait:
        _print_asked(options, asked, told)
        return ExitCode.OK
    # The document of --json is what it comes to; who waits has to know the id all the same.
    print(told, file=sys.stderr if options.json else sys.stdout, flush=True)
    _await_approval(options, str(asked["request_id"]))
    return _go_on(options, path, body | {"request_id": asked["request_id"]})


def _print_asked(options: argparse.Namespace, asked: signer.Document, told: str) -> None:
    if options.json:
        asking.print_json({"schema": asking.SCHEMA, **asked})
    else:
        print(told)


def _go_on(options: argparse.Namespace, path: str, body: dict[str, object]) -> int:
    return keys.made(options, signer.change(options, path, body, "the token unwraps it"), "unwrapped")


def _await_approval(options: argparse.Namespace, request_id: str) -> None:
    """Returns when somebody has approved, and when the request is none any more: the signer says why."""
    try:
        with spinning("unwrap: waiting for somebody to approve"):
            while _is_waiting(options, request_id):
                time.sleep(_LOOK_EVERY_S)
    except KeyboardInterrupt:
        again = f"--request {request_id}"
        raise TryAgainError(
            "interrupted; it can still be approved", advice=f"then go on with {again}"
        ) from None


def _is_waiting(options: argparse.Namespace, request_id: str) -> bool:
    waiting = signer.get(options, "/v1/secretsd/approvals")["approvals"]
    return any(each["request_id"] == request_id and each["approver_uid"] is None for each in waiting)


def _approve_arguments(parser: Parser) -> None:
    parser.add_argument(
        "request", nargs="?", metavar="ID", help="the request's id; without it: what waits for an approval"
    )
    add_json(parser)
    add_color(parser)


def _approve(options: argparse.Namespace) -> int:
    if options.request is None:
        document = signer.get(options, "/v1/secretsd/approvals")
    else:
        document = signer.use(options, signer.path_of("secretsd", "approvals", options.request), {})
    if options.json:
        asking.print_json({"schema": asking.SCHEMA, **document})
    elif options.request is None:
        found = clean(document)
        print(screen.waiting(found, asking.view(options), _names(found), os.getuid()))
    else:
        print(f"approved: {clean(document)['key']} may enter the token, once, for whoever asked")
    return ExitCode.OK


def _names(document: signer.Document) -> dict[int, str]:
    """The users of the requests that this host knows, by uid."""
    names = {}
    for each in document.get("approvals") or ():
        for uid in (each.get("requester_uid"), each.get("approver_uid")):
            with contextlib.suppress(KeyError, TypeError, OverflowError):
                names[uid] = pwd.getpwuid(uid).pw_name
    return names


COMMANDS = (
    Command(
        name="keys wrap",
        summary="write a key to a file, wrapped by another key of the token",
        description="""\
Has the token wrap the key with the one that `wrapped_by` names, and writes the result to a file. Only a
token that holds the wrapping key can open it. For cold storage and for moving a key to another token.""",
        examples="""\
secretsctl keys wrap cold-wallet -o cold-wallet.wrapped""",
        codes={0: "written"},
        arguments=_wrap_arguments,
        run=_wrap,
        asks="signer",
    ),
    Command(
        name="keys unwrap",
        summary="bring a wrapped key back, once another user has approved",
        description="""\
Asks for a wrapped key to enter the token again as the key's next version. Another user has to approve that
with `secretsctl approve`; the approval is for this key, this file and you, counts once, and expires.

With --wait this command stays until then and goes on by itself. Without it, it prints the request's id;
run it again with --request ID when it is approved. A restart or a reload of the signer ends all
requests.""",
        examples="""\
secretsctl keys unwrap cold-wallet --in cold-wallet.wrapped --wait
# in two steps
secretsctl keys unwrap cold-wallet --in cold-wallet.wrapped
secretsctl keys unwrap cold-wallet --in cold-wallet.wrapped --request 0123456789abcdef0123456789abcdef""",
        codes={0: "asked for, or with --wait and --request: done", 75: "not approved yet, or interrupted"},
        arguments=_unwrap_arguments,
        run=_unwrap,
        asks="signer",
    ),
    Command(
        name="approve",
        summary="let a wrapped key into the token that another user asked for",
        description="""\
Without ID lists what waits for your approval, and what you have asked for yourself. With ID approves that
one. You must be root, in the group secretsd-admin or one of the key's approvers, and never the user who
asked, not even as root. Compare the SHA-256 with that of the file that you expect.""",
        examples="""\
secretsctl approve
secretsctl approve 0123456789abcdef0123456789abcdef""",
        codes={0: "listed, or approved"},
        arguments=_approve_arguments,
        run=_approve,
        asks="signer",
    ),
)
