"""Waiting until bundles are up to date and loaded, and saying which fell short."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

from secretsd.control.protocol import Reply
from secretsd.control.report import not_loaded, shortfall
from secretsd.errors import ExitCode, worst
from secretsd.refresh.conductor import Conductor
from secretsd.refresh.plan import must_load


async def settled(
    conductor: Conductor, targets: Mapping[str, int], *, began: float, deadline: float
) -> Reply:
    """Waits until each bundle's refresh of that number has ended and its units have loaded the result.

    `began` and `deadline` are monotonic seconds; a unit that has failed since `began` is not waited for.
    """
    for name, target in targets.items():
        condition = partial(_is_settled, conductor, name, target, began)
        await conductor.changes.until(condition, deadline - time.monotonic())
    shortfalls = [line for name, target in targets.items() if (line := shortfall(conductor, name, target))]
    code = worst([code for code, _ in shortfalls])
    done = f"up to date and loaded: {len(targets) - len(shortfalls)} of {len(targets)} bundles"
    lines = [line for _, lines in shortfalls for line in lines]
    lines += [line for name in targets for line in _held_back(conductor, name)]
    return Reply(code, done, {"lines": lines})


def _held_back(conductor: Conductor, name: str) -> list[str]:
    """That the source has something newer which is not published: no shortfall, somebody asked for it."""
    state = conductor.states.get(name)
    if state is None or state.entry.hold is None or not state.held_back:
        return []
    waiting = ", ".join(f"{version.ref} (version {version.version_id})" for version in state.held_back)
    held = f"{name}: an operator holds it, so this waits: {waiting}"
    return [held, f"  to end it: secretsctl resume {name}"]


async def loaded(conductor: Conductor, name: str, *, began: float, deadline: float) -> Reply:
    """As `settled`, for what is published now: whether its source can answer does not count."""
    condition = partial(_is_settled, conductor, name, 0, began)
    await conductor.changes.until(condition, deadline - time.monotonic())
    code, lines = not_loaded(conductor, name) or (ExitCode.OK, [])
    return Reply(code, "", {"lines": lines})


def _is_settled(conductor: Conductor, name: str, target: int, began: float) -> bool:
    """Whether the refresh has ended and each unit has loaded the result, has failed to or waits."""
    state, bundle = conductor.states.get(name), conductor.config.bundles.get(name)
    if state is None or bundle is None:
        return True  # another reload has removed it
    if state.ended < target:
        return False
    if state.record is None:
        # A copy that is about to be opened may be the end of the outage for this bundle.
        return conductor.bundles.unsealing.is_attempted(name, conductor.config.bundles)
    generation = state.record.generation
    for entry in bundle.on_change:
        delivery = state.delivery(entry.unit)
        # A unit that waits for a window is not waited for: that may open tomorrow.
        put_off = delivery.failed_attempts or delivery.wait is not None
        put_off_since = delivery.generation == generation and put_off and delivery.retry_at > began
        loaded = state.entry.loaded.get(entry.unit, 0) >= generation
        if must_load(entry) and not loaded and (delivery.in_progress or not put_off_since):
            return False
    return True
