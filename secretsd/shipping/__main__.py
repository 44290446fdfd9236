"""secretsd-shipper, which brings the audit trail to where nobody can rewrite it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
import time
from pathlib import Path

import secretsd
from secretsd import logs, process
from secretsd.cli.arguments import Parser
from secretsd.config.load import INSTALLED_CONFIG, load
from secretsd.config.models import Config
from secretsd.errors import ExitCode, LocalIOError, SecretsdError
from secretsd.service import Service
from secretsd.shipping import report
from secretsd.shipping.courier import ChainPlace, Courier
from secretsd.shipping.sinks.registry import sinks_of

log = logging.getLogger("secretsd.shipping")

_REPORT_EVERY_S = 5.0
# A call that hangs longer is beyond every timeout of its own. Its cursor is safe: a new process goes on.
_LONGEST_CALL_S = 180.0
_STOP_PATIENCE_S = 5.0


def main() -> None:
    arguments = _parse_arguments()
    logs.set_up()
    try:
        process.forbid_dumps()
        asyncio.run(_serve(load(arguments.config)))
    except SecretsdError as error:
        logs.tell(log, error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.OK)


def _parse_arguments() -> argparse.Namespace:
    parser = Parser(
        prog="secretsd-shipper",
        description="Ships the audit trail of secretsd and secretsd-signer: journal, S3, CloudWatch Logs.",
        epilog="Normally started by systemd (secretsd-shipper.service). See secretsd-shipper(8).",
    )
    parser.add_argument(
        "--config", type=Path, default=INSTALLED_CONFIG, metavar="FILE", help=f"default: {INSTALLED_CONFIG}"
    )
    parser.add_argument("--version", action="version", version=f"secretsd-shipper {secretsd.__version__}")
    return parser.parse_args()


async def _serve(config: Config) -> None:
    service = Service()
    couriers = _couriers(config)
    if not couriers:
        log.info("nothing to do: [audit] names no sink (journal, s3, cloudwatch): see secretsd.toml(5)")
        service.ready("Nothing to do")
        return
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    for courier in couriers:
        courier.start()
    service.ready("Started")
    watchdog = asyncio.create_task(service.feed_watchdog(lambda: None), name="watchdog")
    try:
        while not stop.is_set():
            _require_life(couriers)
            _tell(couriers, service, config.audit.shipper_state_dir)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _REPORT_EVERY_S)
    finally:
        service.stopping("Stopping; what was not sent is sent after the next start")
        watchdog.cancel()
        for courier in couriers:
            courier.stop(_STOP_PATIENCE_S)
        _tell(couriers, service, config.audit.shipper_state_dir)


def _couriers(config: Config) -> list[Courier]:
    state_dir, places = config.audit.shipper_state_dir, _chains(config)
    try:
        state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        return [Courier(sink, places, state_dir / "cursors") for sink in sinks_of(config.audit)]
    except OSError as error:
        raise LocalIOError(
            f"{error.filename or state_dir} cannot be used: {error.strerror}",
            advice="shipper_state_dir in [audit] must be the shipper's own",
        ) from None


def _chains(config: Config) -> list[ChainPlace]:
    """Where the daemons of this host write."""
    places = [ChainPlace("refresher", config.daemon.state_dir / "audit")]
    if config.signer is not None:
        places.append(ChainPlace("signer", config.signer.state_dir / "audit"))
    return places


def _require_life(couriers: list[Courier]) -> None:
    now_s = time.monotonic()
    for courier in couriers:
        busy_s = courier.busy_since_s
        if not courier.is_alive() or (busy_s is not None and now_s - busy_s > _LONGEST_CALL_S):
            raise LocalIOError(
                f"the way to {courier.sink.name} hangs or has ended", advice="It is started anew."
            )


def _tell(couriers: list[Courier], service: Service, state_dir: Path) -> None:
    said = report.document(couriers, time.monotonic(), time.time())
    service.status(report.line(said))
    # A full disk stops the report, not the shipping.
    with contextlib.suppress(OSError):
        report.write(said, state_dir)


if __name__ == "__main__":
    main()
