"""Units that were not running when they were to be told, and that somebody has started since."""

from __future__ import annotations

import asyncio

from secretsd.config.models import Config
from secretsd.notify import client
from secretsd.refresh.state import BundleState, Changes, Delivery

# A unit whose `secretsctl wait` was just answered starts its main process a moment later, or a little later.
_LOOKS_AFTER_S = (1.0, 2.0, 4.0, 8.0, 15.0)


class Starts:
    """Looks at such units for a while after somebody has asked for their bundle; acts on none."""

    def __init__(self, states: dict[str, BundleState], changes: Changes) -> None:
        self._states = states
        self._changes = changes
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def expect(self, bundle: str, config: Config) -> None:
        """Whether a unit of the bundle runs by now is shown by `status` soon."""
        for unit, delivery in self._states[bundle].deliveries.items():
            key = (bundle, unit)
            if _was_inactive(delivery) and key not in self._tasks:
                self._tasks[key] = asyncio.create_task(self._look(bundle, unit, delivery, config))
                self._tasks[key].add_done_callback(lambda _, key=key: self._tasks.pop(key, None))  # type: ignore[misc]

    async def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _look(self, bundle: str, unit: str, delivery: Delivery, config: Config) -> None:
        for pause_s in _LOOKS_AFTER_S:
            await asyncio.sleep(pause_s)
            state = self._states.get(bundle)
            if state is None or state.record is None or not _was_inactive(delivery):
                return
            generation = state.record.generation
            report = await client.look(
                str(config.daemon.notify_socket),
                bundle=bundle,
                unit=unit,
                generation=generation,
                published_monotonic=state.record.published_monotonic,
            )
            if report.outcome == "current" and _was_inactive(delivery) and delivery.generation == generation:
                delivery.report = report
                self._changes.announce()


def _was_inactive(delivery: Delivery) -> bool:
    told = delivery.report is not None and delivery.report.outcome == "inactive"
    return told and not delivery.in_progress
