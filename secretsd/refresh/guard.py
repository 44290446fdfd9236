"""Unusual access as the refresher sees it: who loads secrets, who asks for bundles, what the signer tells."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from secretsd.audit.ledger import Ledger
from secretsd.config.models import Config
from secretsd.errors import LocalIOError
from secretsd.model import PublishRecord
from secretsd.unusual.findings import Finding, Thing
from secretsd.unusual.mailbox import Mailbox, Sender
from secretsd.unusual.sentry import Sentry
from secretsd.unusual.wire import socket_of

log = logging.getLogger(__name__)

ALL_BUNDLES: Thing = ("bundle", "")
Hear = Callable[[Finding, str, float], None]  # whose it is, a daemon's name; when, since the epoch


class Guard:
    """Of one daemon; all methods are for the event loop's thread. `hear` is called with each finding."""

    def __init__(self, config: Config, ledger: Ledger, hear: Hear) -> None:
        directory = Path(config.daemon.state_dir)
        self.sentry = Sentry(
            directory,
            config.unusual,
            write=ledger.write,
            alert=lambda finding: hear(finding, "secretsd", time.time()),
        )
        self._mailbox = Mailbox(socket_of(config), lambda finding, at: hear(finding, "secretsd-signer", at))
        self._is_installed = not config.foreground
        self.problem = ""  # why nobody hears the signer; empty when all is well

    def open(self, config: Config) -> None:
        """Takes over what was learned, and listens for the signer. Blocks for the disk."""
        self.sentry.open(config.unusual, things(config))
        self.listen()

    def listen(self) -> None:
        """Listens for the signer, at the start and on each reload. What keeps it from that is `problem`."""
        self.problem = ""
        try:
            self._mailbox.open(Sender.installed() if self._is_installed else Sender(os.geteuid()))
        except LocalIOError as error:
            self.problem = f"nobody is told what the signer finds unusual: {error}"
            log.error(self.problem, extra={"advice": error.advice})

    def configure(self, config: Config) -> None:
        """A configuration is in force."""
        self.sentry.configure(config.unusual, things(config))

    async def close(self) -> None:
        self._mailbox.close()
        await self.sentry.close()


def things(config: Config) -> Iterator[Thing]:
    """What the refresher watches."""
    yield ALL_BUNDLES
    for name, bundle in config.bundles.items():
        yield "bundle", name
        for secret in bundle.secrets:
            yield "secret", secret.ref.source, secret.ref.id


def things_of(record: PublishRecord) -> list[Thing]:
    """The secrets that a published generation was made of."""
    refs = [version.ref for version in record.versions]
    return [("secret", source, id_) for source, id_ in dict.fromkeys((ref.source, ref.id) for ref in refs)]
