"""What `plan` answers: the steps of a refresh, and what keeps a unit from being told at once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from secretsd.control.report import describe_step
from secretsd.moments import iso
from secretsd.refresh.conductor import Conductor
from secretsd.refresh.plan import NotifyUnit, Step
from secretsd.refresh.units.gates import Go, Reason, WaitUntil, gate


def describe_plan(conductor: Conductor, steps: Iterable[Step]) -> list[dict[str, object]]:
    """The steps as JSON, by bundle; within one, in their order."""
    return [
        describe_step(step) | (_wait(conductor, step) if isinstance(step, NotifyUnit) else {})
        for step in sorted(steps, key=lambda step: step.bundle)
    ]


def _wait(conductor: Conductor, step: NotifyUnit) -> dict[str, object]:
    wait = _foreseen(conductor, step)
    at = wait.at if wait else None
    return {"waits_for": str(wait.reason) if wait else None, "until": iso(at)}


def _foreseen(conductor: Conductor, step: NotifyUnit) -> WaitUntil | None:
    """What a unit that is running would wait for; None for nothing. Its `before` is not asked."""
    bundle, state = conductor.config.bundles.get(step.bundle), conductor.states.get(step.bundle)
    entry = next((each for each in bundle.on_change if each.unit == step.unit), None) if bundle else None
    if entry is None or state is None:
        return None  # a reload let go of it meanwhile
    now, record = time.time(), state.record
    is_published = record is not None and record.generation == step.generation
    verdict = gate(
        entry,
        bundle=step.bundle,
        now=now,
        published_at=record.published_at if record is not None and is_published else now,
        host=os.uname().nodename,
        restarts=state.entry.restarts.get(step.unit, ()),
    )
    if isinstance(verdict, Go):
        return None if entry.before is None else WaitUntil(Reason.BEFORE, None)
    return verdict
