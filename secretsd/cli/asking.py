"""Between a command and the daemon: the question, and how its answer is shown."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from secretsd.cli import fast
from secretsd.cli.paper import columns, fitted
from secretsd.cli.spinner import spinning
from secretsd.cli.text import View, clean, printable
from secretsd.control import client
from secretsd.control.protocol import Reply
from secretsd.errors import ExitCode, SecretsdError
from secretsd.timespan import parse_timespan

SCHEMA = 1

_GRACE_S = 15.0  # beyond the deadline that the daemon itself keeps
_FETCHING_S = 120.0  # a dry run asks the source, which takes its own time
_PROGRAM_S = 75.0  # one that runs already, and then this one, each for 30 s at most
_LONGEST_S = 24 * 3600.0


def ask(options: argparse.Namespace, command: str, **fields: object) -> Reply:
    """The daemon's answer, which it has at once. Raises: SecretsdError."""
    return client.ask(socket_path(options), {"command": command, **fields}, timeout_s=_GRACE_S)


def ask_source(options: argparse.Namespace, command: str, **fields: object) -> Reply:
    """As `ask`, for what the daemon has to ask the source about first."""
    with spinning(f"{command}: asking the source"):
        return client.ask(socket_path(options), {"command": command, **fields}, timeout_s=_FETCHING_S)


def ask_and_wait(options: argparse.Namespace, command: str, **fields: object) -> Reply:
    """As `ask`, for what the daemon does within `options.timeout`. Raises: SecretsdError."""
    request = {"command": command, "timeout": options.timeout, **fields}
    timeout_s = min(parse_timespan(options.timeout), _LONGEST_S) + _GRACE_S
    path = socket_path(options)
    with spinning(f"{command}: waiting for secretsd, at most {options.timeout}"):
        try:
            return client.ask(path, request, timeout_s=timeout_s)
        except KeyboardInterrupt:
            return Reply(ExitCode.TRY_AGAIN, "interrupted; what was begun goes on: see secretsctl status")


def ask_program(options: argparse.Namespace, command: str, **fields: object) -> Reply:
    """As `ask`, for what has the daemon run a program of the operator's, which may take its time."""
    with spinning(f"{command}: waiting for the program to end"):
        return client.ask(socket_path(options), {"command": command, **fields}, timeout_s=_PROGRAM_S)


def socket_path(options: argparse.Namespace) -> str:
    """The control socket's path. Raises: ConfigError."""
    if options.config is not None:
        # Only here and for check-config: pydantic costs the other commands 100 ms.
        from secretsd.config.load import load

        return str(load(options.config).daemon.control_socket)
    return options.socket or os.environ.get(fast.SOCKET_VARIABLE) or fast.DEFAULT_SOCKET


def show(reply: Reply, options: argparse.Namespace, screen: Callable[[Mapping[str, Any], View], str]) -> int:
    """Prints the answer's document, as a screen or as JSON; what holds no document as `end` does."""
    if reply.code is not ExitCode.OK and "schema" not in reply.body:
        return end(reply)
    if options.json:
        print_json({"schema": SCHEMA, **reply.body})
    else:
        print(screen(clean(reply.body), view(options)))
    return reply.code


def end_of_work(reply: Reply, options: argparse.Namespace) -> int:
    """As `end`; with --json as a document, whatever the work came to."""
    if not options.json:
        return end(reply)
    advice = str(reply.body.get("advice") or "")
    message = f"{reply.message}: {advice}" if advice else reply.message
    print_json({"schema": SCHEMA, "code": int(reply.code), "message": message, "lines": _lines(reply)})
    return reply.code


def end(reply: Reply) -> int:
    """Says what a command came to: on stdout if it is done, else on stderr with a line for each reason."""
    if reply.code is ExitCode.OK:
        _print_lines([*filter(None, [reply.message]), *(f"  {line}" for line in _lines(reply))], sys.stdout)
        return reply.code
    complain(reply.message, str(reply.body.get("advice") or ""))
    _print_lines([f"  {line}" for line in _lines(reply)], sys.stderr)
    return reply.code


def _print_lines(lines: list[str], stream: TextIO | None) -> None:
    if stream is None:
        return
    for line in map(printable, lines):
        text = line.lstrip(" ")
        print(fitted(text, stream, indent=" " * (len(line) - len(text))), file=stream)


def complain(message: str, advice: str = "") -> None:
    fast.said(0, f"{message}: {advice}" if advice else message)


def fall_short(error: SecretsdError) -> int:
    """Says what went wrong, on one line where it is no terminal, and returns the code for it."""
    complain(str(error), error.advice)
    return error.exit_code


def _lines(reply: Reply) -> list[str]:
    lines = reply.body.get("lines")
    return [str(line) for line in lines] if isinstance(lines, list) else []


def print_json(document: Mapping[str, object]) -> None:
    print(json.dumps(document, indent=2))


def print_line(document: Mapping[str, object]) -> None:
    """A document of many, a line each."""
    print(json.dumps(document, separators=(",", ":")))


def view(options: argparse.Namespace) -> View:
    """What stdout is: a terminal of some width, or a place for plain lines."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    color = is_terminal and not options.no_color and not os.environ.get("NO_COLOR")
    dumb = os.environ.get("TERM") == "dumb"
    return View(datetime.now(UTC), columns(sys.stdout), color=color and not dumb)
