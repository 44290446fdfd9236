"""secretsd-shipper, which brings the audit trail to where nobody can rewrite it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path
from typing import Any

from secretsd import logs, process
from secretsd.cli.arguments import daemon_arguments
from secretsd.config.load import load
from secretsd.config.models import Config
from secretsd.errors import ExitCode, SecretsdError
from secretsd.monitor.server import MonitorServer
from secretsd.monitor.shipper import monitor_of, places_of
from secretsd.service import Service, until_one_ends
from secretsd.shipping import report
from secretsd.shipping.shipper import Shipper

log = logging.getLogger("secretsd.shipping")

_REPORT_EVERY_S = 5.0


def main() -> None:
    arguments = _parse_arguments()
    logs.set_up()
    try:
        process.forbid_dumps()
        asyncio.run(_serve(arguments.config, load(arguments.config)))
    except SecretsdError as error:
        logs.tell(log, error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.OK)
    except Exception:
        log.exception("secretsd-shipper ends by a bug of its own")
        sys.exit(ExitCode.BUG)


def _parse_arguments() -> argparse.Namespace:
    return daemon_arguments(
        "secretsd-shipper",
        "Ships the audit trail of secretsd and secretsd-signer: journal, S3, CloudWatch Logs.",
        "Normally started by systemd (secretsd-shipper.service). See secretsd-shipper(8).",
    )


async def _serve(config_path: Path, config: Config) -> None:
    service = Service()
    if not config.audit.sinks:
        _end_well(service)
        return
    shipper = Shipper(config_path, config)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, shipper.reload)
    shipper.look()
    service.ready("Started")
    monitor = monitor_of(config.audit, shipper.report, lambda: shipper.refused)
    background: list[asyncio.Task[Any]] = [
        asyncio.create_task(_ship(shipper, monitor, service, stop), name="shipping"),
        asyncio.create_task(service.feed_watchdog(lambda: None), name="watchdog"),
        asyncio.create_task(monitor.run(), name="monitoring"),
    ]
    try:
        await until_one_ends(background)
    finally:
        service.stopping("Stopping; what was not sent is sent after the next start")
        for task in background:
            task.cancel()
        shipper.stop()
        _tell(shipper, service)


async def _ship(shipper: Shipper, monitor: MonitorServer, service: Service, stop: asyncio.Event) -> None:
    """Until it is to stop, or a reload leaves no sink. Raises: LocalIOError as `Shipper.look` does."""
    while not stop.is_set() and shipper.config.audit.sinks:
        shipper.look()
        monitor.sockets.adopt(places_of(shipper.config.audit))
        _tell(shipper, service)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _REPORT_EVERY_S)
    if not shipper.config.audit.sinks:
        _end_well(service)


def _end_well(service: Service) -> None:
    log.info("nothing to do: [audit] names no sink (journal, s3, cloudwatch): see secretsd.toml(5)")
    service.ready("Nothing to do")


def _tell(shipper: Shipper, service: Service) -> None:
    said = shipper.report()
    service.status(report.line(said))
    # A full disk stops the report, not the shipping.
    with contextlib.suppress(OSError):
        report.write(said, shipper.config.audit.shipper_state_dir)


if __name__ == "__main__":
    main()
