"""Tells alert commands what is wrong and what is well again, one event at a time, beside the refreshes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from secretsd.errors import LocalIOError
from secretsd.observe import alert_book, alert_program, events, telling
from secretsd.observe.conditions import situation
from secretsd.observe.telling import Event, Memory
from secretsd.refresh.bundles import Bundles
from secretsd.unusual.findings import Finding, advice, sentence

log = logging.getLogger(__name__)

_TICK_S = 1.0  # while anything is wrong; otherwise only a change of state wakes us
_GATHER_S = 0.1  # after a change: those that come together are looked at once
_AFTER_BUG_S = 60.0


class Alerts:
    """The alerts of one daemon; all methods run on the conductor's event loop."""

    def __init__(self, bundles: Bundles, *, timeout_s: float = alert_program.TIMEOUT_S) -> None:
        self.problem = ""  # why nobody may have heard the last event; empty when all is well
        self.counts: Counter[str] = Counter()  # since this start: "told", "failed", "suppressed"
        self._bundles = bundles
        self._memory = Memory()
        self._is_unwritten = False  # something was reported since the last write
        self._timeout_s = timeout_s
        self._running = asyncio.Lock()

    async def run(self) -> None:
        """Tells whatever is to be told, for ever. Commands run one at a time and delay only each other."""
        self._open()
        while True:
            try:
                while (event := self._next()) is not None:
                    await self._tell(event)
                if self._is_unwritten:  # it waits for its turn, maybe for an hour
                    await self._write()
                await self._pause()
            except Exception as error:
                # No bundle's secret was ever in this process. Refreshes go on without alerts.
                log.exception("alerts met a bug in secretsd")
                self.problem = f"alerts met a bug in secretsd ({type(error).__name__}): see the journal"
                await asyncio.sleep(_AFTER_BUG_S)

    def report(self, finding: Finding, daemon: str, at: float) -> None:
        """Something unusual was found by `daemon`: it is told at once, with what else was found by then.

        `at` is in seconds since the epoch.
        """
        if self._bundles.config.daemon.alert_command:
            message = f"{daemon}: {sentence(finding)}"
            what = telling.Report(finding.kind, message, advice(finding), at)
            self._memory = telling.report(self._memory, what)
            self._is_unwritten = True
            self._bundles.changes.announce()

    async def test(self, bundle: str | None) -> str | None:
        """Runs the alert command of `bundle`, or the daemon's, with a test event.

        Returns why nobody heard it, empty if the command ended well, None where there is no command.
        """
        config = self._bundles.config
        command = config.daemon.alert_command if bundle is None else config.alert_command(bundle)
        if not command:
            return None
        text = events.encoded(events.test_document(bundle, host=_host(), now=time.time()))
        wrong = await self._run(command, text)
        return f"{command[0]} {wrong}" if wrong else ""

    def _open(self) -> None:
        try:
            kept = alert_book.read(self._state_dir, wall=time.time(), monotonic=time.monotonic())
            # What was found since this start stands behind what a former run has not told.
            self._memory = replace(kept, reports=(*kept.reports, *self._memory.reports))
        except LocalIOError as error:
            log.warning("what was alerted is not known", extra={"reason": str(error), "advice": error.advice})

    def _next(self) -> Event | None:
        bundles = self._bundles
        now = situation(bundles.config, bundles.states, now=time.time(), monotonic=time.monotonic())
        self._memory, event = telling.look(self._memory, now, time.monotonic())
        return event

    async def _tell(self, event: Event) -> None:
        limit = self._bundles.config.daemon.alert_limit
        self._memory = telling.spend(self._memory, event, limit, time.monotonic())
        await self._write()  # before the command: one that brings the daemon down counts, too
        document = events.document(event, self._bundles.states, host=_host(), now=time.time())
        wrong = await self._run(event.command, events.encoded(document))
        bundle = {} if event.reports else {"bundle": event.trouble.bundle}
        fields = {**bundle, "event": event.event, "trouble": str(event.trouble)}
        if wrong:
            self.counts["failed"] += 1
            self._memory = telling.fail(self._memory, event, time.monotonic())
            reasons = {"command": event.command[0], "reason": wrong}
            log.error("alert was not told", extra={**fields, **reasons})
            return
        log.info("alert told", extra=fields)
        self.counts.update({"told": 1, "suppressed": event.suppressed})
        self._memory = telling.succeed(self._memory, event)
        await self._write()

    async def _run(self, command: tuple[str, ...], event: bytes) -> str:
        async with self._running:
            wrong = await alert_program.run(command, event, timeout_s=self._timeout_s)
        self.problem = f"alert_command {command[0]} {wrong}: try secretsctl alert-test" if wrong else ""
        return wrong

    async def _write(self) -> None:
        wall, monotonic = time.time(), time.monotonic()
        self._is_unwritten = False
        try:
            await asyncio.to_thread(
                alert_book.write, self._state_dir, self._memory, wall=wall, monotonic=monotonic
            )
        except LocalIOError as error:
            log.error("what was alerted is not kept", extra={"reason": str(error), "advice": error.advice})

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if self._memory.is_at_rest else _TICK_S):
                await self._bundles.changes.next()
        await asyncio.sleep(_GATHER_S)

    @property
    def _state_dir(self) -> Path:
        return Path(self._bundles.config.daemon.state_dir)


def _host() -> str:
    return os.uname().nodename
