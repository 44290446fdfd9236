"""secretsd, the refresher daemon."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Any

from secretsd import logs, process
from secretsd.cli.arguments import daemon_arguments
from secretsd.config.load import load_at_start
from secretsd.config.models import Config
from secretsd.control.recording import Recording
from secretsd.control.report import status_line
from secretsd.control.server import ControlServer
from secretsd.errors import ExitCode, SecretsdError
from secretsd.monitor.refresher import follow, monitor_of
from secretsd.refresh.conductor import FIRST_ROUND_S, Conductor
from secretsd.service import Service, until_one_ends

log = logging.getLogger("secretsd")

_STATUS_PAUSE_S = 0.2


def main() -> None:
    arguments = _parse_arguments()
    logs.set_up()
    try:
        process.forbid_dumps()
        config, lacking = load_at_start(arguments.config)
        for line in lacking:
            log.error("a bundle cannot be published on this host", extra={"reason": line})
        asyncio.run(_serve(arguments.config, config))
    except SecretsdError as error:
        logs.tell(log, error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.OK)
    except Exception:
        # No bundle's secret was ever in this process, so its traceback may be logged.
        log.exception("secretsd ends by a bug of its own")
        sys.exit(ExitCode.BUG)


def _parse_arguments() -> argparse.Namespace:
    return daemon_arguments(
        "secretsd",
        "Publishes secrets as files for units, and tells the units when they change.",
        "Normally started by systemd (secretsd.service). See secretsd(8) and secretsctl(1).",
    )


async def _serve(config_path: Path, config: Config) -> None:
    conductor, service = Conductor(config_path, config), Service()
    conductor.open()
    monitor = monitor_of(conductor)
    control = ControlServer(conductor)
    await control.start(Path(config.daemon.control_socket))
    stopping = asyncio.create_task(_stop_on_signals().wait(), name="stopping")
    _reload_on_hangup(conductor)
    background: list[asyncio.Task[Any]] = [
        stopping,
        asyncio.create_task(conductor.run(), name="refreshing"),
        asyncio.create_task(conductor.alerts.run(), name="alerting"),
        asyncio.create_task(conductor.pruner.run(lambda: conductor.config.audit), name="pruning"),
        asyncio.create_task(monitor.run(), name="monitoring"),
        asyncio.create_task(follow(conductor, monitor), name="monitoring elsewhere"),
        asyncio.create_task(_become_ready(conductor, service), name="ready"),
        asyncio.create_task(service.feed_watchdog(conductor.look), name="watchdog"),
        asyncio.create_task(conductor.trail.ledger.keep(), name="audit"),
    ]
    try:
        await until_one_ends(background)
    finally:
        service.stopping("Stopping; the published files stay")
        for task in background:
            task.cancel()
        await control.stop()
        await conductor.stop()


async def _become_ready(conductor: Conductor, service: Service) -> None:
    """READY after the first attempt of every bundle; then keeps the status line true."""
    bundles = dict(conductor.config.bundles)
    is_attempted = conductor.bundles.unsealing.is_attempted
    await conductor.changes.until(lambda: all(is_attempted(name, bundles) for name in bundles), FIRST_ROUND_S)
    service.ready(status_line(conductor))
    conductor.bundles.be_ready()
    while True:
        await conductor.changes.next()
        # A round changes hundreds of bundles one by one, and the line is made by looking at all of them.
        await asyncio.sleep(_STATUS_PAUSE_S)
        service.status(status_line(conductor))


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _reload(recording: Recording) -> None:
    try:
        await recording.run("reload", None, {}, None)
    except SecretsdError as error:
        logs.tell(log, error)


def _reload_on_hangup(conductor: Conductor) -> None:
    """For those who are used to kill -HUP; it cannot say how it went, `secretsctl reload` can."""
    tasks: set[asyncio.Task[object]] = set()
    recording = Recording(conductor)

    def reload() -> None:
        task: asyncio.Task[object] = asyncio.create_task(_reload(recording))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
