"""secretsctl render: an env file from a JSON object, for what is not published by the daemon.

Values come in on stdin and go out on stdout; nothing else ever shows them, no message either.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from secretsd.cli import fast
from secretsd.cli.arguments import Parser
from secretsd.cli.command import Command
from secretsd.errors import ExitCode
from secretsd.refresh.secret_object import DUPLICATE, NumberText, parse_object

DIALECTS = ("env", "docker", "dotenv", "node", "universal", "json")

# Far more than one environment can hold.
_MAX_INPUT_BYTES = 16 * 1024 * 1024


def _arguments(parser: Parser) -> None:
    parser.add_argument("--dialect", required=True, choices=DIALECTS, help="who is to read the file")


def _run(options: argparse.Namespace) -> int:
    """The exit code; the file is on stdout only if that is 0."""
    from secretsd.config.names import shown
    from secretsd.refresh.formats.interface import ITSELF, UnwritableError
    from secretsd.refresh.formats.registry import FORMATS

    if sys.stdin is None or sys.stdin.isatty():
        return fast.said(ExitCode.USAGE, 'pipe a JSON object {"NAME": "value"} into render')
    try:
        document = sys.stdin.buffer.read(_MAX_INPUT_BYTES + 1)
    except OSError as error:
        return fast.said(ExitCode.IO, f"cannot read standard input: {error.strerror}")
    members = _members(document)
    if isinstance(members, str):
        return fast.said(ExitCode.DATA, f"standard input {members}")
    values, reasons = _values(members)
    try:
        content = FORMATS[options.dialect].render(values)[ITSELF]
    except UnwritableError as error:
        reasons |= error.reasons
    else:
        if not reasons:
            return _write(content)
    for name in sorted(reasons):
        print(f"{shown(name) or repr(name)}: {reasons[name]}", file=sys.stderr)
    return ExitCode.DATA


def _write(content: bytes) -> int:
    if sys.stdout is None:
        return fast.said(ExitCode.IO, "cannot write the output: standard output is closed")
    sys.stdout.buffer.write(content)
    return ExitCode.OK


def _members(document: bytes) -> dict[str, object] | str:
    """The members of a JSON object; or why it is none, without anything that stands in it."""
    if len(document) > _MAX_INPUT_BYTES:
        return f"is larger than {_MAX_INPUT_BYTES} bytes"
    return parse_object(document)


def _values(members: Mapping[str, object]) -> tuple[dict[str, bytes], dict[str, str]]:
    """Values by name, in the order of the names, and why the others are none."""
    values: dict[str, bytes] = {}
    reasons: dict[str, str] = {}
    for name in sorted(members):
        member = members[name]
        if member is DUPLICATE:
            reasons[name] = "stands twice in the object"
        elif not isinstance(member, str) or isinstance(member, NumberText):
            reasons[name] = "is not a string: put its value in quotes"
        elif (value := _utf8(member)) is None or _utf8(name) is None:
            reasons[name] = "holds a lone surrogate, which is no UTF-8"
        else:
            values[name] = value
    return values, reasons


def _utf8(text: str) -> bytes | None:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return None


COMMANDS = (
    Command(
        name="render",
        summary="write variables as a file of a dialect, from a JSON object on standard input",
        description="""\
Reads a JSON object {"NAME": "value"} from standard input and writes the file on standard output, in the
order of the names, as published files are. secretsd is not asked.

Dialects: `env` for systemd's EnvironmentFile= and every POSIX shell, `docker` for docker and podman
--env-file, `dotenv` for python-dotenv and pydantic-settings, `node` for node --env-file, `universal` for
all of systemd, shells, python-dotenv and node alike, `json` for one object of strings.

What the dialect cannot hold is named on standard error, `NAME: REASON`, a line each; nothing is written
then.""",
        examples="""\
echo '{"API_KEY": "not-a-real-key"}' | secretsctl render --dialect docker""",
        codes={0: "written", 65: "standard input is no such object, or a value cannot be written", 74: "I/O"},
        arguments=_arguments,
        run=_run,
        asks="nobody",
    ),
)
