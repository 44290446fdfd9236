"""secretsctl: every command but the fast path of `wait`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import secretsd
from secretsd.cli import fast, screen
from secretsd.cli.arguments import Parser
from secretsd.control import client
from secretsd.control.protocol import Reply
from secretsd.errors import ConfigError, ExitCode, SecretsdError
from secretsd.timespan import parse_timespan

DEFAULT_CONFIG = Path("/etc/secretsd/secretsd.toml")

# Beyond the deadline that the daemon itself keeps.
_GRACE_S = 15.0
_ALERT_S = 60.0  # one that is being told, and the test after it
_LONGEST_S = 24 * 3600.0


def run(arguments: list[str]) -> int:
    """The command's exit code. Wrong usage ends the process."""
    try:
        options = _parser().parse_args(arguments)
        code: int = options.run(options)
    except SecretsdError as error:
        _complain(str(error), error.advice)
        return error.exit_code
    return code


def _parser() -> Parser:
    parser = Parser(
        prog="secretsctl",
        description="Asks the secrets daemon what it holds, and tells it what to do. Values are never shown.",
        epilog="Exit codes: 0 done, 64 usage, 65 bad data, 69 source unavailable (stale value kept), 70 bug, "
        "74 I/O, 75 try again, 77 refused, 78 configuration. See secretsctl(1).",
    )
    parser.add_argument("--version", action="version", version=f"secretsctl {secretsd.__version__}")
    _add_socket(parser, default=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    status = _command(
        commands, "status", _status, "state, versions and age of each bundle, and its last failure"
    )
    status.add_argument("bundle", nargs="?", metavar="BUNDLE")
    _add_json(status)
    status.add_argument(
        "--no-color", action="store_true", help="plain text, as with NO_COLOR in the environment"
    )

    wait = _command(commands, "wait", _wait, "return when the bundle is published; for ExecStartPre=")
    wait.add_argument("bundle", metavar="BUNDLE")
    wait.add_argument("--timeout", type=_timespan, default="30s", help="default: 30s; then exit 75")
    wait.add_argument(
        "--max-age", type=_timespan, metavar="AGE",
        help="ask the source again if it confirmed the content longer ago than this; exit 75 if it cannot",
    )  # fmt: skip
    wait.add_argument(
        "--allow-stale", action="store_true", help="with --max-age: exit 0 all the same, and say so"
    )

    reload = _command(
        commands,
        "reload",
        _reload,
        "re-read the configuration, refresh, publish, tell units, and wait for all of it",
    )
    reload.add_argument("bundle", nargs="?", metavar="BUNDLE")
    reload.add_argument("--timeout", type=_timespan, default="60s", help="default: 60s")

    plan = _command(
        commands, "plan", _plan, "what a refresh would do now, without values and without doing it"
    )
    plan.add_argument("bundle", nargs="?", metavar="BUNDLE")
    _add_json(plan)

    ack = _command(commands, "ack", _ack, "a bot says which generation it has loaded")
    ack.add_argument("bundle", metavar="BUNDLE")
    ack.add_argument("generation", type=int, metavar="GENERATION")

    alert = _command(commands, "alert-test", _alert_test, "run alert_command with a test event")
    alert.add_argument("bundle", nargs="?", metavar="BUNDLE", help="default: the command of [daemon]")

    examine = _command(commands, "doctor", _doctor, "what has to be right, a line each, with the fix")
    _add_json(examine)
    examine.add_argument(
        "--no-color", action="store_true", help="plain text, as with NO_COLOR in the environment"
    )

    check = _command(
        commands, "check-config", _check_config, "check the configuration without a daemon", socket=False
    )
    check.add_argument(
        "file",
        nargs="?",
        type=Path,
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help=f"default: {DEFAULT_CONFIG}",
    )
    return parser


def _command(
    commands: argparse._SubParsersAction[Parser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    *,
    socket: bool = True,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(run=run)
    if socket:
        _add_socket(parser, default=argparse.SUPPRESS)
    return parser


def _add_socket(parser: argparse.ArgumentParser, *, default: str | None) -> None:
    """Where the daemon is; understood before the command's name and after it."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--socket", metavar="PATH", default=default,
        help=f"the daemon's control socket; default: ${fast.SOCKET_VARIABLE} or {fast.DEFAULT_SOCKET}",
    )  # fmt: skip
    where.add_argument(
        "--config", type=Path, metavar="FILE", default=default,
        help="take the control socket from this configuration, for a daemon in the foreground",
    )  # fmt: skip


def _socket(options: argparse.Namespace) -> str:
    """The control socket's path. Raises: ConfigError."""
    if options.config is not None:
        # Only here and for check-config: pydantic costs the other commands 100 ms.
        from secretsd.config.load import load

        return str(load(options.config).daemon.control_socket)
    return options.socket or os.environ.get(fast.SOCKET_VARIABLE) or fast.DEFAULT_SOCKET


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs: a versioned JSON document")


def _timespan(text: str) -> str:
    try:
        parse_timespan(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _status(options: argparse.Namespace) -> int:
    reply = client.ask(_socket(options), {"command": "status", "bundle": options.bundle}, timeout_s=_GRACE_S)
    if reply.code is not ExitCode.OK:
        return _end(reply)
    if options.json:
        _print_json(reply)
    else:
        print(screen.status(reply.body, color=_wants_color(options), in_detail=options.bundle is not None))
    return ExitCode.OK


def _wait(options: argparse.Namespace) -> int:
    return fast.wait(
        options.bundle,
        timeout=options.timeout,
        max_age=options.max_age,
        allow_stale=options.allow_stale,
        socket=_socket(options),
    )


def _reload(options: argparse.Namespace) -> int:
    request: dict[str, object] = {"command": "reload", "bundle": options.bundle, "timeout": options.timeout}
    return _end(
        client.ask(
            _socket(options), request, timeout_s=min(parse_timespan(options.timeout), _LONGEST_S) + _GRACE_S
        )
    )


def _plan(options: argparse.Namespace) -> int:
    reply = client.ask(_socket(options), {"command": "plan", "bundle": options.bundle}, timeout_s=_GRACE_S)
    if reply.code is not ExitCode.OK:
        return _end(reply)
    if options.json:
        _print_json(reply)
    else:
        print(screen.plan(reply.body))
    return ExitCode.OK


def _ack(options: argparse.Namespace) -> int:
    request: dict[str, object] = {
        "command": "ack",
        "bundle": options.bundle,
        "generation": options.generation,
    }
    return _end(client.ask(_socket(options), request, timeout_s=_GRACE_S))


def _alert_test(options: argparse.Namespace) -> int:
    request: dict[str, object] = {"command": "alert-test", "bundle": options.bundle}
    return _end(client.ask(_socket(options), request, timeout_s=_ALERT_S + _GRACE_S))


def _doctor(options: argparse.Namespace) -> int:
    from secretsd.cli import doctor
    from secretsd.control import check

    config_path = options.config or DEFAULT_CONFIG
    try:
        socket_path = _socket(options)
    except ConfigError:  # one of the mistakes that it is there to show
        socket_path = fast.DEFAULT_SOCKET
    checks = doctor.examine(socket_path, config_path)
    if options.json:
        print(json.dumps(check.published(checks), indent=2))
    else:
        print(doctor.screen(checks, color=_wants_color(options)))
    return check.exit_code(checks)


def _check_config(options: argparse.Namespace) -> int:
    from secretsd.config.load import load_checked

    try:
        config = load_checked(options.file)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return error.exit_code
    secrets = sum(len(bundle.secrets) for bundle in config.bundles.values())
    print(f"{options.file}: no mistakes; bundles: {len(config.bundles)}, secrets: {secrets}")
    return ExitCode.OK


def _end(reply: Reply) -> int:
    """Says what a command came to: on stdout if it is done, else on stderr with a line for each reason."""
    if reply.code is ExitCode.OK:
        if reply.message:
            print(reply.message)
        return reply.code
    _complain(reply.message, str(reply.body.get("advice", "")))
    lines = reply.body.get("lines")
    for line in lines if isinstance(lines, list) else ():
        print(f"  {line}", file=sys.stderr)
    return reply.code


def _complain(message: str, advice: str) -> None:
    fast.said(0, f"{message}: {advice}" if advice else message)


def _print_json(reply: Reply) -> None:
    print(json.dumps(reply.body, indent=2))


def _wants_color(options: argparse.Namespace) -> bool:
    return sys.stdout.isatty() and not options.no_color and not os.environ.get("NO_COLOR")
