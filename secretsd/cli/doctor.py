"""`secretsctl doctor`: one line for each thing that has to be right, with what to do where it is not."""

from __future__ import annotations

import argparse
from pathlib import Path

from secretsd.cli import (
    asking,
    fast,
    local_checks,
    shipper_checks,
    signer_checks,
    signer_host_checks,
    unit_checks,
)
from secretsd.cli.screens.checks import screen
from secretsd.config.disk import INSTALLED_CONFIG
from secretsd.control import check, client
from secretsd.control.check import Check, exit_code, fail, ok, warn
from secretsd.control.check import published as document
from secretsd.control.protocol import Reply
from secretsd.errors import ConfigError, ExitCode, RefusedError, TryAgainError

__all__ = ["document", "examine", "exit_code", "screen"]

# The daemon gives a source 9 s and the notify helper 20 s.
TIMEOUT_S = 60.0


def examine(options: argparse.Namespace) -> list[Check]:
    """Everything that can be looked at from here, and what the daemon sees, if it runs.

    A daemon that answers says itself which configuration it runs with; otherwise it is the one of
    `options`, or the installed one.
    """
    try:
        socket_path = asking.socket_path(options)
    except ConfigError:  # one of the mistakes that it is there to show
        socket_path = fast.DEFAULT_SOCKET
    daemon, of_the_daemon, config_path = _ask(socket_path, options.config or INSTALLED_CONFIG)
    config, checks = local_checks.configuration(config_path)
    has_mistakes = any(each.state == "fail" for each in checks)
    checks += [daemon, *local_checks.host(config), *of_the_daemon]
    checks += unit_checks.units(config)
    checks += signer_checks.signer(config)
    checks += shipper_checks.shipper(config)
    if has_mistakes and config_path == INSTALLED_CONFIG:
        checks += signer_host_checks.stopped_by_a_mistake()
    return checks


def _ask(socket_path: str, config_path: Path) -> tuple[Check, list[Check], Path]:
    try:
        reply = client.ask(socket_path, {"command": "doctor"}, timeout_s=TIMEOUT_S)
    except TryAgainError as error:
        return local_checks.daemon_that_does_not_answer(str(error), config_path), [_unseen()], config_path
    except RefusedError as error:
        return _refused(str(error)), [_unseen()], config_path
    if reply.code is ExitCode.REFUSED:
        return _refused(reply.message), [_unseen()], config_path
    if reply.code is not ExitCode.OK:
        return _of_another_version(reply), [_unseen()], config_path
    return (
        ok("daemon", f"secretsd answers on {socket_path}"),
        check.decoded(_list(reply.body.get("checks"))),
        Path(str(reply.body.get("config"))),
    )


def _list(value: object) -> list[dict[str, object]]:
    return value if isinstance(value, list) else []


def _unseen() -> Check:
    return warn("sources", "not looked at: only the daemon can", "mend the line of the daemon, and ask again")


def _refused(message: str) -> Check:
    return fail("daemon", message, "sudo secretsctl doctor", ExitCode.REFUSED)


def _of_another_version(reply: Reply) -> Check:
    fix = "journalctl -u secretsd -n 50; systemctl restart secretsd"
    return fail("daemon", reply.message, fix, reply.code)
