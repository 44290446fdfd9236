"""The running shipper: its couriers and what they were sent for; a configuration that is read anew."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from secretsd.config.load import load
from secretsd.config.models import Config
from secretsd.errors import ConfigError
from secretsd.shipping import report
from secretsd.shipping.fleet import Fleet

log = logging.getLogger("secretsd.shipping")

_STOP_PATIENCE_S = 5.0


class Shipper:
    """All methods are for the loop's thread."""

    def __init__(self, config_path: Path, config: Config) -> None:
        self.config = config
        self.refused = ""  # the first mistake of a configuration that was not taken
        self._config_path = config_path
        self._fleet = Fleet(config.audit.shipper_state_dir)
        self._fleet.send(config)
        self._reloading: asyncio.Task[None] | None = None
        self._must_reload = False

    def look(self) -> None:
        """Starts and replaces couriers; for every few seconds.

        Raises: LocalIOError where the state directory cannot be used, or a courier hangs.
        """
        self._fleet.look()

    def report(self) -> report.Document:
        """How it is. Takes a millisecond: it looks at the audit directories."""
        return report.document(self._fleet.couriers, self._fleet.spools(), time.monotonic(), time.time())

    def reload(self) -> None:
        """Begins to read the configuration anew; one that cannot be used changes nothing."""
        self._must_reload = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._reload(), name="reloading")

    def stop(self) -> None:
        """Ends the couriers; waits at most 5 s for each."""
        self._fleet.stop(_STOP_PATIENCE_S)

    async def _reload(self) -> None:
        while self._must_reload:
            self._must_reload = False
            try:
                config = await asyncio.to_thread(load, self._config_path)
                self._adopt(config)
            except ConfigError as error:
                for line in error.problems:
                    log.error(line)
                log.error("the configuration stays as it was: correct it, then reload again")
                self.refused = error.problems[0]

    def _adopt(self, config: Config) -> None:
        state_dir = self.config.audit.shipper_state_dir  # a running process keeps what it knows where it is
        if config.audit.shipper_state_dir != state_dir:
            log.warning("a change of shipper_state_dir needs a restart of secretsd-shipper")
            audit = config.audit.model_copy(update={"shipper_state_dir": state_dir})
            config = config.model_copy(update={"audit": audit})
        self._fleet.send(config)
        self.config, self.refused = config, ""
        log.info("the configuration was read anew", extra={"sinks": ", ".join(config.audit.sinks)})
