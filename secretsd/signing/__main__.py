"""secretsd-signer, the signing daemon."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from secretsd import logs, process
from secretsd.cli.arguments import daemon_arguments
from secretsd.errors import ExitCode, SecretsdError
from secretsd.monitor.signer import monitor_of
from secretsd.service import Service, until_one_ends
from secretsd.signing.house import House, Settings, configured
from secretsd.signing.sockets import listen

log = logging.getLogger("secretsd.signing")


def main() -> None:
    arguments = _parse_arguments()
    logs.set_up()
    try:
        process.forbid_dumps()
        _run(_serve(arguments.config, configured(arguments.config)))
    except SecretsdError as error:
        logs.tell(log, error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.OK)
    except Exception:
        # No key and no PIN is in the text of an exception, so its traceback may be logged.
        log.exception("secretsd-signer ends by a bug of its own")
        sys.exit(ExitCode.BUG)


def _parse_arguments() -> argparse.Namespace:
    return daemon_arguments(
        "secretsd-signer",
        "Signs with the keys of a PKCS#11 token for local processes that may use them.",
        "Normally started by systemd (secretsd-signer.socket). See secretsd-signer(8).",
    )


async def _serve(config_path: Path, settings: Settings) -> None:
    service = Service()
    sockets = listen(settings.signer)
    try:
        house = House(config_path, settings, sockets)
    except BaseException:
        sockets.close()
        raise
    tried, stop = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, house.reload)
    house.open(tried.set)
    monitor = monitor_of(house, sockets.metrics, settings.signer.metrics_socket)
    background: list[asyncio.Task[Any]] = [
        asyncio.create_task(stop.wait(), name="stopping"),
        asyncio.create_task(_become_ready(house, service, tried), name="ready"),
        asyncio.create_task(house.keeper.run(), name="audit"),
        asyncio.create_task(house.prune(), name="pruning"),
        asyncio.create_task(monitor.run(), name="monitoring"),
        asyncio.create_task(service.feed_watchdog(lambda: None), name="watchdog"),
    ]
    try:
        await until_one_ends(background)
    finally:
        service.stopping("Stopping; requests under way are answered")
        for task in background:
            task.cancel()
        await house.stop()
        sockets.close()


async def _become_ready(house: House, service: Service, tried: asyncio.Event) -> None:
    """READY when the token was tried once, whatever came of it; then keeps the status line true."""
    await tried.wait()
    service.ready(house.status_line())
    while True:
        await house.changed.wait()
        house.changed.clear()
        service.status(house.status_line())


def _run(serving: Coroutine[Any, Any, None]) -> None:
    """On uvloop where it is installed: half the time for each request."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(serving)
    else:
        uvloop.run(serving)


if __name__ == "__main__":
    main()
