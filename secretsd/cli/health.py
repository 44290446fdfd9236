"""`secretsctl health`: what /readyz of each daemon of this host says, and what to do about it."""

from __future__ import annotations

import argparse
import json
import os
import socket
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from secretsd.cli import asking, fast
from secretsd.cli.arguments import Parser
from secretsd.cli.command import DEFAULT_SIGNER, SIGNER_VARIABLE, Command, add_color, add_json
from secretsd.cli.screens import checks as screens
from secretsd.config.disk import INSTALLED_CONFIG
from secretsd.control.check import Check, decoded, exit_code, fail, warn
from secretsd.errors import ExitCode
from secretsd.monitor import health

_SOCKET_NAME = "metrics.sock"
_PATIENCE_S = 5.0
_MOST_BYTES = 16 * 1024 * 1024
_REQUEST = b"GET /readyz?json HTTP/1.1\r\nHost: secretsd\r\n\r\n"
_UNITS = {"refresher": "secretsd", "signer": "secretsd-signer", "shipper": "secretsd-shipper"}

Seen = Mapping[str, Sequence[Check]]  # by daemon


def document(seen: Seen) -> dict[str, object]:
    """The answer to `health --json`."""
    everything = list(chain.from_iterable(seen.values()))
    daemons = [health.document(daemon, checks) for daemon, checks in seen.items()]
    return {"schema": health.SCHEMA, "state": health.word(everything), "daemons": daemons}


def _arguments(parser: Parser) -> None:
    add_json(parser)
    add_color(parser)


def _health(options: argparse.Namespace) -> int:
    seen = {daemon: _ask(daemon, path) for daemon, path in _sockets(options).items()}
    if options.json:
        asking.print_json(document(seen))
    else:
        for daemon, checks in seen.items():
            print(f"{daemon}: {health.word(checks)}")
            print(screens.screen(health.worst_first(checks), asking.view(options)))
    return exit_code(chain.from_iterable(seen.values()))


def _sockets(options: argparse.Namespace) -> dict[str, Path]:
    """Of the daemons that this host has. Raises: ConfigError."""
    if options.config is not None:
        from secretsd.config.load import load  # pydantic, for who asks for it

        config = load(options.config)
        signer = {"signer": config.signer.metrics_socket} if config.signer is not None else {}
        shipper = {"shipper": config.audit.shipper_metrics_socket} if config.audit.sinks else {}
        return {"refresher": config.metrics_socket, **signer, **shipper}
    beside_signer = Path(os.environ.get(SIGNER_VARIABLE) or DEFAULT_SIGNER).with_name(_SOCKET_NAME)
    signer = {"signer": beside_signer} if beside_signer.exists() else {}
    control = asking.socket_path(options)
    return {"refresher": Path(control).with_name(_SOCKET_NAME), **signer, **_shipper(control)}


def _shipper(control: str) -> dict[str, Path]:
    """Only of the installed service the configuration is known, and with it whether there is to be one."""
    if control != fast.DEFAULT_SOCKET:
        return {}
    from secretsd.config.shipper_place import shipper_socket  # tomllib, for who asks for it

    path = shipper_socket(INSTALLED_CONFIG)
    return {} if path is None else {"shipper": path}


def _ask(daemon: str, path: Path) -> list[Check]:
    """What the daemon says; one that does not answer is a check that fails."""
    unit = _UNITS[daemon]
    try:
        status, content = _get(path)
        if status == 403:
            return [fail("process", content.decode().strip(), "sudo secretsctl health", ExitCode.REFUSED)]
        return decoded(json.loads(content)["checks"])
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "in time"
        what = f"{unit} does not answer on {path}: {reason}"
    except (ValueError, LookupError, TypeError):
        what = f"what answers on {path} is not this version of {unit}"
    fix = f"systemctl status {unit}; journalctl -t {unit} -n 50"
    if daemon == "shipper":  # without it no bot lacks anything
        return [warn("process", f"{what}; the audit trail waits on this host", fix)]
    return [fail("process", what, fix, ExitCode.TRY_AGAIN)]


def _get(path: Path) -> tuple[int, bytes]:
    """Status and body. Raises: OSError; ValueError where it is no HTTP."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE_S)
        connection.connect(os.fspath(path))
        connection.sendall(_REQUEST)
        answer = b""
        while (piece := connection.recv(65536)) and len(answer) < _MOST_BYTES:
            answer += piece
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), content


COMMANDS = (
    Command(
        name="health",
        summary="whether the daemons of this host can do their work now",
        description="""\
Says what /readyz?verbose says on the metrics sockets of this host's daemons, the worst first, each trouble
with its fix. For root and the members of the groups secretsd-metrics and secretsd-admin.

`not ready`: a bot of this host could not start or use a key now, or runs on what is no longer published.
`degraded`: all of that works, and something is wrong: an outage of the source while good files are in place,
say. `ready`: all is well. The shipper is asked where the configuration names a sink; whatever it lacks is
`degraded` at most.

With --socket the metrics socket beside that one is asked.""",
        examples="""\
secretsctl health
secretsctl health --json | jq -r .state""",
        codes={
            0: "ready or degraded",
            65: "not ready: a secret does not fit its bundle's rules",
            69: "not ready: a source or the token is unavailable",
            74: "not ready: this host's I/O",
            75: "not ready, or a daemon does not answer: its fix says what to do",
            77: "not ready: a source refuses; or you may not ask",
            78: "not ready: the signer's configuration or its token needs an operator",
        },
        arguments=_arguments,
        run=_health,
    ),
)
